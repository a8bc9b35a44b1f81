//! Tests of what push gateways are told, on both databases.

use ruma::{EventId, OwnedEventId, OwnedRoomId, RoomId, UserId, server_name, user_id};
use serde_json::{Map, Value, json};
use starling_storage::{Fact, pushers as rows, pushers::PusherKey};

use super::{
    courier::{self, Call, End},
    due::Due,
    round::Round,
    set::{self, NewPusher, SetError},
};
use crate::{
    Engine,
    accounts::{Session, data, devices, threepids, tokens},
    config::Email,
    rooms::{
        create::{Preset, create},
        membership::{
            content::Member,
            invite::{self, Invite},
            join::{self, Join},
            leave,
        },
        receipts::{self, Kind, Receipt},
        send::{self, SetState},
    },
    test_support::{text, wanted_room},
    testing::{TestEngine, config, on_each_database_with},
};

const URL: &str = "https://push.test/_matrix/push/v1/notify";

fn alice() -> &'static UserId {
    user_id!("@alice:test")
}

fn bob() -> &'static UserId {
    user_id!("@bob:test")
}

/// Alice and Bob in a room of three, and a pusher of Bob's.
struct Scene<'t> {
    test: &'t TestEngine,
    room_id: OwnedRoomId,
    session: Session,
}

impl<'t> Scene<'t> {
    async fn set(test: &'t TestEngine) -> Self {
        for name in ["alice", "carol"] {
            test.user(name).await.unwrap();
        }
        let (_, issued) = test.user("bob").await.unwrap();
        let engine = &test.engine;
        let session = tokens::authenticate(engine, &issued.access_token).await.unwrap();
        let room_id = create(engine, &wanted_room(alice(), Preset::PublicChat)).await.unwrap();
        let scene = Self { test, room_id, session };
        for user_id in [bob(), user_id!("@carol:test")] {
            let (via, more) = (vec![], Map::new());
            let join = Join { user_id, room_id: &scene.room_id, via, reason: None, more };
            join::join(engine, join).await.unwrap();
        }
        scene.pusher("key", json!({ "url": URL })).await.unwrap();
        scene
    }

    fn engine(&self) -> &Engine {
        &self.test.engine
    }

    async fn pusher(&self, pushkey: &str, data: Value) -> Result<(), SetError> {
        let new = NewPusher {
            app_id: "app".to_owned(),
            pushkey: pushkey.to_owned(),
            kind: set::HTTP.to_owned(),
            data: data.to_string(),
            enabled: true,
            append: true,
            ..NewPusher::default()
        };
        set::set(self.engine(), &self.session, new).await
    }

    async fn say(&self, body: &str) -> OwnedEventId {
        let message = text(&self.room_id, alice(), body);
        send::message(self.engine(), message).await.unwrap()
    }

    async fn read(&self, event_id: &EventId) {
        let event_id = event_id.to_owned();
        let receipt = Receipt { kind: Kind::Private, event_id, thread_id: None };
        receipts::send(self.engine(), &self.room_id, bob(), &[receipt]).await.unwrap();
    }

    /// Looks for everything that a pusher is to be told; how that ended, and what the gateway heard.
    async fn look(&self, pushkey: &str) -> (End, Vec<Value>) {
        (self.call(key(pushkey)).await, self.heard())
    }

    async fn call(&self, key: PusherKey) -> End {
        self.call_until(self.engine().storage.feed().head(), key).await
    }

    async fn call_until(&self, until: i64, key: PusherKey) -> End {
        let due = Due::everything(until);
        let round = Round::new(&key.user_id, due);
        courier::run(self.engine(), &Call { key, round, was_idle: true }).await
    }

    fn heard(&self) -> Vec<Value> {
        let told = self.test.world.told().into_iter();
        told.map(|(_, body)| body["notification"].clone()).collect()
    }

    /// The same for the pusher of the scene, where all is well.
    async fn told(&self) -> Vec<Value> {
        let (end, told) = self.look("key").await;
        assert_eq!(end, End::Drained);
        told
    }

    async fn pushkeys(&self) -> Vec<String> {
        let pushers = set::list(self.engine(), bob()).await.unwrap();
        pushers.into_iter().map(|row| row.key.pushkey).collect()
    }
}

fn key(pushkey: &str) -> PusherKey {
    let (user_id, app_id) = (bob().to_string(), "app".to_owned());
    PusherKey { user_id, app_id, pushkey: pushkey.to_owned() }
}

/// What messages say, in order; of a number alone, the number.
fn said(told: &[Value]) -> Vec<String> {
    let said = |it: &Value| match it["content"]["body"].as_str() {
        Some(body) => body.to_owned(),
        None => it["counts"]["unread"].to_string(),
    };
    told.iter().map(said).collect()
}

async fn on_each(test: impl AsyncFn(Scene<'_>)) {
    on_each_database_with(config(server_name!("test")), async |engine| {
        test(Scene::set(&engine).await).await;
        engine
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn an_event_is_told_with_all_that_is_known_of_it() {
    on_each(async |scene| {
        let set = |kind: &str, content: Value| SetState {
            room_id: scene.room_id.clone(),
            sender: alice().to_owned(),
            kind: kind.into(),
            state_key: String::new(),
            content: crate::test_support::raw(content),
            ts: None,
        };
        send::state(scene.engine(), set("m.room.name", json!({ "name": "Den" }))).await.unwrap();
        let event_id = scene.say("hello").await;
        let told = scene.told().await;
        let set_ts = set::list(scene.engine(), bob()).await.unwrap()[0].set_ts;
        let wanted = json!({
            "event_id": event_id, "room_id": scene.room_id, "type": "m.room.message",
            "sender": alice(), "room_name": "Den", "prio": "low",
            "content": { "msgtype": "m.text", "body": "hello" },
            "counts": { "unread": 1 },
            "devices": [{
                "app_id": "app", "pushkey": "key", "pushkey_ts": set_ts / 1_000, "data": {},
            }],
        });
        assert_eq!(told, [wanted]);
        assert_eq!(scene.told().await, [] as [Value; 0], "once");
    })
    .await;
}

#[tokio::test]
async fn pushers_that_are_told_together_are_each_told_what_they_do_not_know() {
    on_each(async |scene| {
        scene.say("one").await;
        assert_eq!(said(&scene.told().await), ["one"]);
        scene.pusher("second", json!({ "url": URL })).await.unwrap();
        for number in 0..25 {
            scene.say(&number.to_string()).await;
        }
        scene.pusher("third", json!({ "url": URL })).await.unwrap();
        let last = scene.say("last").await;
        let head = scene.engine().storage.feed().head();
        let round = Round::new(bob().as_str(), Due::room(head, scene.room_id.as_str()));
        for (pushkey, count) in [("third", 1), ("key", 26), ("second", 26)] {
            let call = Call { key: key(pushkey), round: round.clone(), was_idle: true };
            assert_eq!(courier::run(scene.engine(), &call).await, End::Drained);
            let told = scene.heard();
            assert_eq!(told.len(), count, "{pushkey}");
            assert_eq!(told[count - 1]["event_id"], last.as_str());
            assert!(told.iter().all(|it| it["devices"][0]["pushkey"] == pushkey));
            let call = Call { key: key(pushkey), round: round.clone(), was_idle: false };
            assert_eq!(courier::run(scene.engine(), &call).await, End::Drained);
            assert_eq!(scene.heard(), [] as [Value; 0], "once");
        }
    })
    .await;
}

#[tokio::test]
async fn a_gateway_that_is_to_know_the_id_only_knows_no_more() {
    on_each(async |scene| {
        let data = json!({ "url": URL, "format": "event_id_only", "mine": 1 });
        scene.pusher("other", data).await.unwrap();
        let event_id = scene.say("hello").await;
        let (_, told) = scene.look("other").await;
        let keys: Vec<&String> = told[0].as_object().unwrap().keys().collect();
        assert_eq!(keys, ["counts", "devices", "event_id", "prio", "room_id"]);
        assert_eq!(told[0]["event_id"], event_id.as_str());
        let data = &told[0]["devices"][0]["data"];
        assert_eq!(*data, json!({ "format": "event_id_only", "mine": 1 }));
    })
    .await;
}

#[tokio::test]
async fn what_is_failed_is_told_again_and_nothing_out_of_order() {
    on_each(async |scene| {
        scene.say("one").await;
        scene.say("two").await;
        let answers = [(200, "{}"), (502, ""), (0, ""), (200, "<html>")];
        scene.test.world.answer_as_gateway(answers.map(|(status, text)| (status, text.to_owned())));
        let (end, told) = scene.look("key").await;
        assert!(matches!(end, End::Pause(pause) if pause.as_millis() < 2_000), "{end:?}");
        assert_eq!(said(&told), ["one", "two"]);
        let stored = set::list(scene.engine(), bob()).await.unwrap().remove(0).progress;
        assert_eq!(stored.failures, 1);
        assert!(stored.retry_ts > scene.engine().clock.now_ms());
        scene.say("three").await;
        let (end, told) = scene.look("key").await;
        assert!(matches!(end, End::Pause(pause) if pause.as_millis() > 1_000), "{end:?}");
        assert_eq!(said(&told), ["two"]);
        assert_eq!(said(&scene.told().await), ["two", "three"]);
        let stored = set::list(scene.engine(), bob()).await.unwrap().remove(0).progress;
        assert_eq!((stored.failures, stored.retry_ts), (0, 0));
    })
    .await;
}

#[tokio::test]
async fn what_is_rejected_is_removed() {
    on_each(async |scene| {
        scene.pusher("other", json!({ "url": URL })).await.unwrap();
        scene.say("one").await;
        let answer = |pushkey: &str| (200, json!({ "rejected": [pushkey] }).to_string());
        scene.test.world.answer_as_gateway([answer("other"), answer("other")]);
        assert_eq!(said(&scene.told().await), ["one"], "another one is rejected");
        assert_eq!(scene.look("other").await.0, End::Gone);
        assert_eq!(scene.pushkeys().await, ["key"]);
        assert_eq!(scene.look("other").await, (End::Gone, vec![]));
    })
    .await;
}

#[tokio::test]
async fn reading_takes_the_number_away_and_what_was_read_is_not_told() {
    on_each(async |scene| {
        let first = scene.say("one").await;
        scene.say("two").await;
        assert_eq!(scene.told().await[1]["counts"]["unread"], 2);
        scene.read(&first).await;
        assert_eq!(said(&scene.told().await), ["1"]);
        let third = scene.say("three").await;
        scene.read(&third).await;
        let told = scene.told().await;
        assert_eq!(said(&told), ["0"]);
        let keys: Vec<&String> = told[0].as_object().unwrap().keys().collect();
        assert_eq!(keys, ["counts", "devices", "prio"]);
        assert_eq!(said(&scene.told().await), [] as [&str; 0], "it is known");
        scene.say("four").await;
        scene.told().await;
        send::message(scene.engine(), text(&scene.room_id, bob(), "five")).await.unwrap();
        assert_eq!(said(&scene.told().await), ["0"], "who answers has read");
    })
    .await;
}

/// A number counts what there is when it is told, so it must not be told before what it counts.
#[tokio::test]
async fn a_number_is_not_ahead_of_the_messages_that_it_counts() {
    on_each(async |scene| {
        let first = scene.say("one").await;
        scene.told().await;
        scene.read(&first).await;
        let until = scene.engine().storage.feed().head();
        scene.say("two").await;
        scene.say("three").await;
        assert_eq!(scene.call_until(until, key("key")).await, End::Drained);
        assert_eq!(said(&scene.heard()), ["two", "three"]);
        assert_eq!(said(&scene.told().await), [] as [&str; 0], "it is known");
        let fourth = scene.say("four").await;
        scene.read(&fourth).await;
        assert_eq!(scene.call_until(until, key("key")).await, End::Drained);
        assert_eq!(said(&scene.heard()), ["0"], "what came is read already");
    })
    .await;
}

#[tokio::test]
async fn nobody_is_told_of_what_does_not_notify_them() {
    on_each(async |scene| {
        let engine = scene.engine();
        let ignored = json!({ "ignored_users": { "@carol:test": {} } });
        let kind = "m.ignored_user_list";
        data::set(engine, bob(), None, kind, ignored.to_string()).await.unwrap();
        for (sender, body) in [(bob(), "mine"), (user_id!("@carol:test"), "ignored")] {
            send::message(engine, text(&scene.room_id, sender, body)).await.unwrap();
        }
        leave::leave(engine, user_id!("@carol:test"), &scene.room_id, None).await.unwrap();
        let mut notice = text(&scene.room_id, alice(), "");
        notice.content =
            crate::test_support::raw(json!({ "msgtype": "m.notice", "body": "notice" }));
        send::message(engine, notice).await.unwrap();
        scene.say("heard").await;
        assert_eq!(said(&scene.told().await), ["heard"]);
        leave::leave(engine, bob(), &scene.room_id, None).await.unwrap();
        scene.say("gone").await;
        assert_eq!(said(&scene.told().await), ["0"]);
    })
    .await;
}

#[tokio::test]
async fn invites_and_what_is_aloud_are_urgent() {
    on_each(async |scene| {
        let engine = scene.engine();
        let room_id = create(engine, &wanted_room(alice(), Preset::PrivateChat)).await.unwrap();
        let member = Member::default();
        let invite = Invite { room_id: &room_id, sender: alice(), target: bob(), member };
        invite::invite(engine, invite).await.unwrap();
        let mut mention = text(&scene.room_id, alice(), "");
        mention.content = crate::test_support::raw(json!({
            "msgtype": "m.text", "body": "Bob", "m.mentions": { "user_ids": [bob()] },
        }));
        send::message(engine, mention).await.unwrap();
        let mut secret = text(&scene.room_id, alice(), "");
        secret.kind = "m.room.encrypted".into();
        secret.content = crate::test_support::raw(json!({ "algorithm": "m.x" }));
        send::message(engine, secret).await.unwrap();
        let told = scene.told().await;
        assert!(told.iter().all(|it| it["prio"] == "high"), "{told:#?}");
        let [invite, mention, secret] = &told[..] else { panic!("{told:#?}") };
        assert_eq!(invite["user_is_target"], true);
        assert_eq!(invite["content"]["membership"], "invite");
        assert_eq!(invite["counts"]["unread"], 3);
        assert_eq!(invite["devices"][0]["tweaks"], json!({ "sound": "default" }));
        let aloud = json!({ "highlight": true, "sound": "default" });
        assert_eq!(mention["devices"][0]["tweaks"], aloud);
        assert_eq!(secret["type"], "m.room.encrypted");
        assert!(secret["devices"][0].get("tweaks").is_none(), "{secret}");
    })
    .await;
}

#[tokio::test]
async fn of_a_long_absence_only_the_end_is_told() {
    on_each(async |scene| {
        scene.say("old").await;
        scene.test.clock.advance(25 * 60 * 60 * 1_000);
        for number in 0..210 {
            scene.say(&number.to_string()).await;
        }
        let told = said(&scene.told().await);
        assert_eq!((told.len(), told[0].as_str(), told[199].as_str()), (200, "10", "209"));
        scene.test.clock.advance(25 * 60 * 60 * 1_000);
        scene.say("new").await;
        scene.test.clock.advance(25 * 60 * 60 * 1_000);
        assert_eq!(said(&scene.told().await), ["212"], "the number is told all the same");
    })
    .await;
}

#[tokio::test]
async fn a_pusher_goes_with_its_device_and_rests_when_it_is_switched_off() {
    on_each(async |scene| {
        let engine = scene.engine();
        let set = async |enabled| {
            let mut new = NewPusher { enabled, ..NewPusher::default() };
            (new.app_id, new.pushkey) = ("app".to_owned(), "key".to_owned());
            (new.kind, new.data) = (set::HTTP.to_owned(), json!({ "url": URL }).to_string());
            set::set(engine, &scene.session, new).await.unwrap();
        };
        scene.say("before").await;
        set(true).await;
        assert_eq!(said(&scene.told().await), ["before"], "it goes on where it was");
        set(false).await;
        scene.say("silent").await;
        assert_eq!(scene.look("key").await, (End::Gone, vec![]));
        set(true).await;
        scene.say("after").await;
        assert_eq!(said(&scene.told().await), ["after"]);
        devices::log_out(engine, &scene.session).await.unwrap();
        assert_eq!(scene.pushkeys().await, [] as [&str; 0]);
        scene.say("nobody").await;
        assert_eq!(scene.look("key").await, (End::Gone, vec![]));
    })
    .await;
}

#[tokio::test]
async fn only_those_are_woken_whom_it_concerns() {
    on_each(async |scene| {
        let engine = scene.engine();
        let mut dispatcher = super::dispatch::Dispatcher::new(engine.clone(), 0);
        dispatcher.begin().await.unwrap();
        let due = async |dispatcher: &mut super::dispatch::Dispatcher,
                         room_id: &RoomId,
                         event_id: &EventId| {
            let (room_id, event_id) = (room_id.to_string(), event_id.to_string());
            let fact = Fact::Event { room_id, event_id, local: true, member: None };
            let fact = starling_storage::Positioned { pos: 7, fact };
            dispatcher.due(&[fact]).await.unwrap().into_iter().collect::<Vec<_>>()
        };
        let room_id = scene.room_id.clone();
        let loud = scene.say("loud").await;
        let woken = due(&mut dispatcher, &room_id, &loud).await;
        assert_eq!(woken, [(bob().to_string(), Due::room(0, room_id.as_str()))]);
        let mut quiet = text(&room_id, alice(), "");
        quiet.kind = "m.reaction".into();
        quiet.content = crate::test_support::raw(json!({}));
        let quiet = send::message(engine, quiet).await.unwrap();
        assert_eq!(due(&mut dispatcher, &room_id, &quiet).await, []);
        let own = send::message(engine, text(&room_id, bob(), "own")).await.unwrap();
        let woken = due(&mut dispatcher, &room_id, &own).await;
        assert_eq!(woken, [(bob().to_string(), Due::badge(0))]);
        let apart = create(engine, &wanted_room(alice(), Preset::PublicChat)).await.unwrap();
        let elsewhere = send::message(engine, text(&apart, alice(), "apart")).await.unwrap();
        assert_eq!(due(&mut dispatcher, &apart, &elsewhere).await, []);
        let mut conn = engine.storage.read().await.unwrap();
        assert_eq!(rows::users_in(&mut conn, room_id.as_str()).await.unwrap(), [bob().as_str()]);
    })
    .await;
}

/// A server that writes letters.
fn settings_with_mail() -> crate::Config {
    const MINUTE_MS: i64 = 60_000;
    let email = Email {
        app_name: "Tests".to_owned(),
        notify_after_ms: 10 * MINUTE_MS,
        notify_again_ms: 60 * MINUTE_MS,
        ..Email::default()
    };
    let public_url = Some("https://test/".to_owned());
    crate::Config { email: Some(email), public_url, ..config(server_name!("test")) }
}

#[tokio::test]
async fn a_letter_comes_after_a_while_about_everything_and_then_ever_more_rarely() {
    on_each_database_with(settings_with_mail(), async |test| {
        const MINUTE_MS: i64 = 60_000;
        let scene = Scene::set(&test).await;
        let address = "bob@example.org".to_owned();
        threepids::replace(scene.engine(), bob(), std::slice::from_ref(&address)).await.unwrap();
        let key = PusherKey {
            user_id: bob().to_string(),
            app_id: "m.email".to_owned(),
            pushkey: address.clone(),
        };
        let new = NewPusher {
            app_id: key.app_id.clone(),
            pushkey: address.to_uppercase(),
            kind: set::EMAIL.to_owned(),
            data: "{}".to_owned(),
            enabled: true,
            ..NewPusher::default()
        };
        set::set(scene.engine(), &scene.session, new).await.unwrap();
        let look = async || scene.call(key.clone()).await;
        let minutes = |end: End| match end {
            End::Pause(pause) => pause.as_secs().div_ceil(60),
            End::Drained => 0,
            End::Gone => panic!("it is gone"),
        };
        assert_eq!(minutes(look().await), 0, "nothing happened");
        scene.say("one").await;
        assert_eq!(minutes(look().await), 10);
        test.clock.advance(4 * MINUTE_MS);
        let two = scene.say("two").await;
        assert_eq!(minutes(look().await), 6);
        test.clock.advance(6 * MINUTE_MS);
        assert_eq!(minutes(look().await), 0);
        let letters = test.world.letters();
        let [letter] = &letters[..] else { panic!("no letter, or several: {letters:?}") };
        assert_eq!((&*letter.to, &*letter.subject), (&*address, "You missed 2 messages on Tests"));
        let token = letter.unsubscribe.as_deref().unwrap().split_once("token=").unwrap().1;
        assert!(letter.text.contains("one\n") && letter.text.contains("two\n"), "{}", letter.text);
        for (said, pause) in [("three", 60), ("four", 120), ("five", 240)] {
            scene.say(said).await;
            assert_eq!(minutes(look().await), pause);
            test.clock.advance(i64::try_from(pause).unwrap() * MINUTE_MS);
            assert_eq!(minutes(look().await), 0);
            assert!(test.world.letters()[0].text.contains(said));
        }
        scene.read(&two).await;
        test.clock.advance(480 * MINUTE_MS);
        let last = scene.say("six").await;
        scene.read(&last).await;
        assert_eq!(minutes(look().await), 0, "it was read");
        scene.say("seven").await;
        test.clock.advance(10 * MINUTE_MS);
        assert_eq!((minutes(look().await), test.world.letters().len()), (0, 1));
        scene.say("eight").await;
        assert_eq!(minutes(look().await), 60, "who reads is written to sooner");
        assert!(set::unsubscribe(scene.engine(), token).await.unwrap());
        assert!(!set::unsubscribe(scene.engine(), token).await.unwrap());
        assert_eq!(look().await, End::Gone);
        test
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn no_letters_go_to_an_address_that_is_somebody_elses_now() {
    on_each_database_with(settings_with_mail(), async |test| {
        let scene = Scene::set(&test).await;
        let address = "bob@example.org".to_owned();
        threepids::replace(scene.engine(), bob(), std::slice::from_ref(&address)).await.unwrap();
        let new = || NewPusher {
            app_id: "m.email".to_owned(),
            pushkey: address.clone(),
            kind: set::EMAIL.to_owned(),
            data: "{}".to_owned(),
            enabled: true,
            ..NewPusher::default()
        };
        set::set(scene.engine(), &scene.session, new()).await.unwrap();
        assert_eq!(scene.pushkeys().await, ["key", &*address]);
        threepids::remove(scene.engine(), bob(), "email", &address).await.unwrap();
        assert_eq!(scene.pushkeys().await, ["key"]);
        let refused = set::set(scene.engine(), &scene.session, new()).await;
        assert!(matches!(refused, Err(SetError::NotOwned)), "{refused:?}");
        test
    })
    .await
    .unwrap();
}
