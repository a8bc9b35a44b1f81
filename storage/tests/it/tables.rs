//! What is written is read back the same on both databases.

use starling_storage::{
    Change, Fact,
    events::{self, EventRow},
    memberships::{self, MembershipRow},
    rooms::{self, ServerUpdate},
    state,
    test_support::TempDatabase,
    timeline::{self, Direction, Entry, Range},
};

use crate::{account_data, event_row, message, new_room, on_each};

#[tokio::test]
async fn strings_with_nul_survive() {
    on_each(|storage| async move {
        let mut change = Change::new();
        let mut row = event_row("!r", "$1", 1);
        row.state_key = Some("a\0b\u{10FFFF}0".to_owned());
        change.write(events::Write::Put(Box::new(row.clone())));
        storage.commit(change).await.unwrap();
        let mut conn = storage.read().await.unwrap();
        assert_eq!(events::get(&mut conn, "!r", "$1").await.unwrap(), Some(row));
    })
    .await;
}

#[tokio::test]
async fn an_event_is_read_by_its_room_only() {
    on_each(|storage| async move {
        let mut change = Change::new();
        for room in ["!r", "!s"] {
            let mut row = event_row(room, "$same", 1);
            row.sender = format!("@{room}");
            change.write(events::Write::Put(Box::new(row)));
        }
        storage.commit(change).await.unwrap();
        let mut conn = storage.read().await.unwrap();
        let row = events::get(&mut conn, "!s", "$same").await.unwrap().unwrap();
        assert_eq!(row.sender, "@!s");
        assert!(events::get(&mut conn, "!t", "$same").await.unwrap().is_none());
    })
    .await;
}

#[tokio::test]
async fn the_ends_of_a_graph_are_those_that_stay_when_a_change_is_over() {
    on_each(|storage| async move {
        storage.commit(new_room("!r")).await.unwrap();
        let ends = async |steps: &[(&str, bool)]| {
            let mut change = Change::new();
            for (event_id, add) in steps {
                let (room_id, event_id) = ("!r".to_owned(), (*event_id).to_owned());
                change.write(rooms::Write::Forward { room_id, event_id, add: *add });
            }
            storage.commit(change).await.unwrap();
            let mut conn = storage.read().await.unwrap();
            rooms::forward_extremities(&mut conn, "!r").await.unwrap()
        };
        assert_eq!(ends(&[("$a", true), ("$a", false), ("$b", true)]).await, ["$b"]);
        assert_eq!(ends(&[("$b", false), ("$b", true), ("$c", true)]).await, ["$b", "$c"]);
        assert_eq!(ends(&[("$b", false), ("$b", true), ("$b", false)]).await, ["$c"]);
    })
    .await;
}

#[tokio::test]
async fn a_list_of_any_length_is_asked_for() {
    on_each(|storage| async move {
        for room in ["!r", "!s\0", "!t"] {
            storage.commit(new_room(room)).await.unwrap();
        }
        let mut conn = storage.read().await.unwrap();
        for wanted in [vec![], vec!["!s\0"], vec!["!r", "!s\0"], vec!["!x"]] {
            let ids: Vec<String> = wanted.iter().map(ToString::to_string).collect();
            let rows = rooms::get_many(&mut conn, &ids).await.unwrap();
            let mut found: Vec<_> = rows.iter().map(|row| &*row.room_id).collect();
            found.sort_unstable();
            let there: Vec<_> = wanted.iter().copied().filter(|id| *id != "!x").collect();
            assert_eq!(found, there);
        }
    })
    .await;
}

#[tokio::test]
async fn an_event_keeps_its_place_when_it_comes_again_without_one() {
    on_each(|storage| async move {
        let put = async |state_before, flags| {
            let row = EventRow { state_before, flags, ..event_row("!r", "$1", 1) };
            let mut change = Change::new();
            change.write(events::Write::Put(Box::new(row)));
            storage.commit(change).await.unwrap();
            let mut conn = storage.read().await.unwrap();
            let row = events::get(&mut conn, "!r", "$1").await.unwrap().unwrap();
            (row.state_before, row.flags)
        };
        let outlier = events::flags::OUTLIER;
        assert_eq!(put(None, outlier).await, (None, outlier));
        assert_eq!(put(Some(7), 0).await, (Some(7), 0));
        assert_eq!(put(None, outlier).await, (Some(7), 0));
        assert_eq!(put(Some(8), events::flags::REJECTED).await.0, Some(8));
    })
    .await;
}

#[tokio::test]
async fn history_goes_before_the_timeline_in_the_order_of_depth() {
    on_each(|storage| async move {
        storage.commit(new_room("!r")).await.unwrap();
        for (n, id) in ["$a", "$b", "$c"].iter().enumerate() {
            let expected = i64::try_from(n).unwrap() + 1;
            let change = message("!r", id, expected);
            storage.commit(change).await.unwrap();
        }
        let mut change = Change::new();
        for (id, depth) in [("$y", 0), ("$x", -1)] {
            change.write(events::Write::Put(Box::new(event_row("!r", id, depth))));
            let entry = Entry {
                room_id: "!r".to_owned(),
                event_id: id.to_owned(),
                depth,
                ..Entry::default()
            };
            change.write(timeline::Write::Backfill(entry));
        }
        storage.commit(change).await.unwrap();
        let mut conn = storage.read().await.unwrap();
        let newest = timeline::newest(&mut conn, "!r", 0, i64::MAX, 10).await.unwrap();
        assert_eq!(newest.len(), 3, "/sync never shows history as new");
        let backward = Range {
            from: (i64::MAX, i64::MAX),
            after: i64::MIN,
            until: i64::MAX,
            direction: Direction::Backward,
        };
        let page = timeline::page(&mut conn, "!r", backward, 10).await.unwrap();
        let ids: Vec<_> = page.iter().map(|entry| (&*entry.event_id, entry.pos)).collect();
        assert_eq!(ids, [("$c", 3), ("$b", 2), ("$a", 1), ("$y", -1), ("$x", -2)]);
        let forward = Range { from: (0, -1), direction: Direction::Forward, ..backward };
        let page = timeline::page(&mut conn, "!r", forward, 2).await.unwrap();
        let ids: Vec<_> = page.iter().map(|entry| &*entry.event_id).collect();
        assert_eq!(ids, ["$a", "$b"]);
        let bounded = Range { after: -2, until: 1, ..backward };
        let page = timeline::page(&mut conn, "!r", bounded, 10).await.unwrap();
        let ids: Vec<_> = page.iter().map(|entry| &*entry.event_id).collect();
        assert_eq!(ids, ["$a", "$y"]);
        let rooms = ["!r".to_owned(), "!s".to_owned()];
        assert_eq!(timeline::active(&mut conn, &rooms, 2, 3).await.unwrap(), ["!r"]);
        assert!(timeline::active(&mut conn, &rooms, 3, i64::MAX).await.unwrap().is_empty());
    })
    .await;
}

#[tokio::test]
async fn a_server_is_owed_what_happens_while_it_is_in_the_room() {
    on_each(|storage| async move {
        storage.commit(new_room("!r")).await.unwrap();
        // before, join, during, leave, after, rejoin, again
        for (n, members) in [None, Some(1), None, Some(0), None, Some(2), None].iter().enumerate() {
            let expected = i64::try_from(n).unwrap() + 1;
            let mut change = message("!r", &format!("${n}"), expected);
            if let Some(joined_members) = *members {
                let at = change.fact(Fact::State { room_id: "!r".to_owned() });
                change.write(rooms::Write::Server(ServerUpdate {
                    room_id: "!r".to_owned(),
                    server: "far".to_owned(),
                    joined_members,
                    at,
                }));
            }
            storage.commit(change).await.unwrap();
            let mut conn = storage.read().await.unwrap();
            let owed = timeline::owed_to(&mut conn, "far", 0, i64::MAX, 100).await.unwrap();
            let ids: Vec<_> = owed.iter().map(|(e, _)| e.event_id.clone()).collect();
            let want: &[&str] = match n {
                0 | 1 => &[],
                2 => &["$2"],
                3 | 4 => &["$2", "$3"],
                5 => &[],
                _ => &["$6"],
            };
            assert_eq!(ids, want, "after step {n}");
        }
    })
    .await;
}

#[tokio::test]
async fn memberships_and_state_are_replaced() {
    on_each(|storage| async move {
        for (membership, event) in [("invite", Some("$1")), ("join", Some("$2")), ("leave", None)] {
            let mut change = Change::new();
            let at = change.fact(Fact::State { room_id: "!r".to_owned() });
            let row = MembershipRow {
                user_id: "@a:b".to_owned(),
                room_id: "!r".to_owned(),
                membership: membership.to_owned(),
                local: true,
                ..MembershipRow::default()
            };
            change.write(memberships::Write::Put { row, at });
            change.write(state::Write::Current {
                room_id: "!r".to_owned(),
                kind: "m.room.member".to_owned(),
                state_key: "@a:b".to_owned(),
                event_id: event.map(ToOwned::to_owned),
            });
            let pos = storage.commit(change).await.unwrap().pos(at);
            let mut conn = storage.read().await.unwrap();
            let row = memberships::get(&mut conn, "@a:b", "!r").await.unwrap().unwrap();
            assert_eq!((&*row.membership, row.pos), (membership, pos));
            let current = state::current(&mut conn, "!r", "m.room.member", "@a:b").await.unwrap();
            assert_eq!(current.as_deref(), event);
            let joined = memberships::joined_rooms(&mut conn, "@a:b").await.unwrap();
            assert_eq!(joined.len(), usize::from(membership == "join"));
        }
    })
    .await;
}

#[tokio::test]
async fn one_process_has_a_sqlite_file() {
    let database = TempDatabase::sqlite().unwrap();
    let storage = database.open().await.unwrap();
    let error = database.open().await.unwrap_err().to_string();
    assert!(error.contains("another process has the database"), "{error}");
    storage.commit(account_data("@a:b", 1)).await.unwrap();
    storage.close().await;
    drop(storage);
    let storage = database.open().await.unwrap();
    assert_eq!(storage.feed().head(), 1);
    storage.close().await;
}

#[tokio::test]
async fn a_value_of_the_deployment_is_made_once() {
    on_each(|storage| async move {
        assert_eq!(storage.meta("secret", "one").await.unwrap(), "one");
        assert_eq!(storage.meta("secret", "two").await.unwrap(), "one");
    })
    .await;
}

#[tokio::test]
async fn the_state_at_each_position_is_known() {
    on_each(|storage| async move {
        storage.commit(new_room("!r")).await.unwrap();
        storage.commit(new_room("!s")).await.unwrap();
        for (room_id, root) in [("!r", 10), ("!s", 20), ("!r", 30)] {
            let mut change = Change::new();
            let room_id = room_id.to_owned();
            let at = change.fact(Fact::State { room_id: room_id.clone() });
            change.write(state::Write::Root { room_id, root, at });
            storage.commit(change).await.unwrap();
        }
        let rooms = ["!r".to_owned(), "!s".to_owned()];
        let mut conn = storage.read().await.unwrap();
        let wanted: [&[(&str, i64)]; 4] =
            [&[], &[("!r", 10)], &[("!r", 10), ("!s", 20)], &[("!r", 30), ("!s", 20)]];
        for (pos, wanted) in (0..).zip(wanted) {
            let mut roots = state::roots_at(&mut conn, &rooms, pos).await.unwrap();
            roots.sort();
            let roots: Vec<_> = roots.iter().map(|(room, root)| (&**room, *root)).collect();
            assert_eq!(roots, wanted, "at {pos}");
        }
        assert_eq!(state::changed(&mut conn, &rooms, 1, 2).await.unwrap(), ["!s"]);
        assert!(state::changed(&mut conn, &rooms, 3, 9).await.unwrap().is_empty());
    })
    .await;
}

#[tokio::test]
async fn who_is_owed_an_event_and_what_is_newest_of_it() {
    on_each(|storage| async move {
        for room in ["!r", "!s"] {
            storage.commit(new_room(room)).await.unwrap();
            let mut change = Change::new();
            let at = change.fact(Fact::State { room_id: room.to_owned() });
            for (server, joined_members) in [("far", 1), ("gone", 0)] {
                change.write(rooms::Write::Server(ServerUpdate {
                    room_id: room.to_owned(),
                    server: server.to_owned(),
                    joined_members,
                    at,
                }));
            }
            storage.commit(change).await.unwrap();
        }
        for (n, (room, expected)) in [("!r", 1), ("!r", 2), ("!s", 1), ("!r", 3)].iter().enumerate()
        {
            storage.commit(message(room, &format!("${n}"), *expected)).await.unwrap();
        }
        let mut conn = storage.read().await.unwrap();
        let all = timeline::owed_to(&mut conn, "far", 0, i64::MAX, 100).await.unwrap();
        let newest = timeline::newest_owed_to(&mut conn, "far", 0, i64::MAX, 100).await.unwrap();
        let ids = |rows: &[(EventRow, Entry)]| -> Vec<String> {
            rows.iter().map(|(event, _)| event.event_id.clone()).collect()
        };
        assert_eq!(ids(&all), ["$0", "$1", "$2", "$3"]);
        assert_eq!(ids(&newest), ["$2", "$3"]);
        let last = all.last().unwrap().1.pos;
        let owed = rooms::servers_owed(&mut conn, "!r", last).await.unwrap();
        assert_eq!(owed, ["far"], "who is gone is owed nothing more");
        let joined = rooms::first_joined_pos(&mut conn, "gone").await.unwrap().unwrap();
        let mut owed = rooms::servers_owed(&mut conn, "!r", joined).await.unwrap();
        owed.sort();
        assert_eq!(owed, ["far", "gone"], "but what it went with");
        assert_eq!(rooms::first_joined_pos(&mut conn, "nobody").await.unwrap(), None);
        assert_eq!(events::rooms_of(&mut conn, "$2").await.unwrap(), ["!s"]);
        assert!(events::rooms_of(&mut conn, "$9").await.unwrap().is_empty());
    })
    .await;
}

#[tokio::test]
async fn the_users_of_a_server_are_told_by_the_whole_name() {
    on_each(|storage| async move {
        let mut change = Change::new();
        let at = change.fact(Fact::State { room_id: "!r".to_owned() });
        for user_id in ["@a:b.org", "@c:x.b.org", "@d:b.org:8448", "@e:ab.org", "@f:b.org"] {
            let row = MembershipRow {
                user_id: user_id.to_owned(),
                room_id: "!r".to_owned(),
                membership: "leave".to_owned(),
                ..MembershipRow::default()
            };
            change.write(memberships::Write::Put { row, at });
        }
        storage.commit(change).await.unwrap();
        let mut conn = storage.read().await.unwrap();
        let users = memberships::of_server(&mut conn, "!r", "b.org").await.unwrap();
        assert_eq!(users, ["@a:b.org", "@f:b.org"]);
        let users = memberships::of_server(&mut conn, "!r", "b.org:8448").await.unwrap();
        assert_eq!(users, ["@d:b.org:8448"]);
        assert!(memberships::of_server(&mut conn, "!s", "b.org").await.unwrap().is_empty());
    })
    .await;
}
