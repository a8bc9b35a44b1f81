//! Who is woken by what.

use ruma::{room_id, user_id};

use super::*;

fn fact(pos: i64, fact: Fact) -> News {
    News::Fact(Positioned { pos, fact })
}

fn event(pos: i64, room_id: &str, member: Option<&str>) -> News {
    let member = member.map(ToOwned::to_owned);
    let (room_id, event_id) = (room_id.to_owned(), "$e".to_owned());
    fact(pos, Fact::Event { room_id, event_id, local: true, member })
}

fn receipt(room_id: &str, user_id: &str, private: bool) -> News {
    let (room_id, user_id) = (room_id.to_owned(), user_id.to_owned());
    fact(9, Fact::Receipt { room_id, user_id, private })
}

#[test]
fn only_what_concerns_a_user_wakes_them() {
    let notifier = Notifier::default();
    let me = "@a:x".to_owned();
    let (room_id, kind) = ("!s:x".to_owned(), "m.tag".to_owned());
    for (news, wakes) in [
        (event(6, "!r:x", None), true),
        (event(6, "!s:x", None), false),
        (event(6, "!s:x", Some("@a:x")), true),
        (event(6, "!s:x", Some("@b:x")), false),
        (fact(6, Fact::State { room_id: "!r:x".to_owned() }), true),
        (receipt("!r:x", "@b:x", false), true),
        (receipt("!r:x", "@b:x", true), false),
        (receipt("!r:x", "@a:x", true), true),
        (fact(6, Fact::Membership { user_id: me.clone(), room_id: room_id.clone() }), true),
        (fact(6, Fact::AccountData { user_id: me, room_id: room_id.clone(), kind }), true),
        (News::Devices(6, "@b:x".to_owned(), vec!["!s:x".to_owned()]), false),
        (News::Devices(6, "@b:x".to_owned(), vec!["!r:x".to_owned()]), true),
        (News::Devices(6, "@a:x".to_owned(), vec![]), true),
        (fact(6, Fact::ToDevice { user_id: "@a:x".to_owned() }), true),
        (fact(6, Fact::ToDevice { user_id: "@b:x".to_owned() }), false),
        (fact(6, Fact::Owed { server: "x".to_owned() }), false),
        (News::Anything(6), true),
        (News::Typing("!r:x".to_owned()), true),
        (News::Typing(room_id), false),
    ] {
        let waiter = notifier.register(user_id!("@a:x"));
        waiter.begin(vec!["!r:x".to_owned()], 5);
        notifier.publish(std::slice::from_ref(&news), None);
        assert_eq!(waiter.was_woken(), wakes, "{news:?}");
    }
}

#[test]
fn what_happens_between_reading_and_waiting_is_not_lost() {
    let notifier = Notifier::default();
    let waiter = notifier.register(user_id!("@a:x"));
    notifier.publish(&[event(6, "!r:x", None)], None);
    assert!(!waiter.was_woken(), "it still reads");
    waiter.begin(vec!["!r:x".to_owned()], 5);
    assert!(waiter.was_woken());

    let waiter = notifier.register(user_id!("@a:x"));
    notifier.publish(&[event(6, "!r:x", None)], None);
    notifier.publish(&[event(7, "!s:x", None)], None);
    waiter.begin(vec!["!r:x".to_owned()], 6);
    assert!(!waiter.was_woken(), "it has read the first, and the second is none of its business");
    notifier.typing(room_id!("!r:x"));
    assert!(waiter.was_woken());
}

#[test]
fn what_was_read_before_it_was_told_wakes_nobody() {
    let notifier = Notifier::default();
    let waiter = notifier.register(user_id!("@a:x"));
    waiter.begin(vec!["!r:x".to_owned()], 6);
    notifier.publish(&[event(6, "!r:x", Some("@a:x"))], Some(6));
    assert!(!waiter.was_woken());
    notifier.publish(&[event(7, "!r:x", None)], Some(7));
    assert!(waiter.was_woken());
}

#[test]
fn who_misses_too_much_is_woken() {
    let notifier = Notifier::default();
    let waiter = notifier.register(user_id!("@a:x"));
    (0..=300).for_each(|pos| notifier.publish(&[event(pos, "!s:x", None)], None));
    waiter.begin(vec![], 0);
    assert!(waiter.was_woken());
}

#[test]
fn nothing_is_left_of_who_went_away() {
    let notifier = Notifier::default();
    let waiter = notifier.register(user_id!("@a:x"));
    waiter.begin(vec!["!r:x".to_owned()], 5);
    drop(waiter);
    assert!(notifier.lock().is_empty());
}

#[test]
fn who_wakes_is_told_how_little_is_new() {
    let notifier = Notifier::default();
    let waiter = notifier.register(user_id!("@a:x"));
    waiter.begin(vec!["!r:x".to_owned(), "!s:x".to_owned()], 5);
    let news = [event(6, "!r:x", None), receipt("!s:x", "@b:x", false), event(8, "!t:x", None)];
    notifier.publish(&news, Some(8));
    let rooms = ["!r:x".to_owned(), "!s:x".to_owned()].into();
    assert_eq!(waiter.take(), (Heard { rooms, ..Heard::default() }, 8));
    assert!(!waiter.was_woken(), "they were taken");

    for more in [
        event(9, "!r:x", Some("@b:x")),
        fact(9, Fact::State { room_id: "!r:x".to_owned() }),
        fact(9, Fact::ToDevice { user_id: "@a:x".to_owned() }),
        News::Devices(9, "@b:x".to_owned(), vec!["!r:x".to_owned()]),
        News::Anything(9),
        News::Typing("!r:x".to_owned()),
        News::Presence("@b:x".to_owned(), vec!["!r:x".to_owned()]),
    ] {
        notifier.publish(&[more], Some(9));
        assert!(waiter.take().0.more);
    }
    let wake = waiter.wake();
    notifier.publish(&[event(10, "!r:x", None)], Some(10));
    let _ = waiter.take();
    assert!(wake.is_cancelled(), "another who waits with it knows that they were taken");
    assert!(!waiter.wake().is_cancelled());
}
