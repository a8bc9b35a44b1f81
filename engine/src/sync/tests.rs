//! /sync, over a room on a stage.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures_util::FutureExt as _;
use ruma::device_id;
use serde_json::{Value, json};

use super::{Request, StateWanted};
use crate::{
    reading::{
        access::Asking,
        filter::Filter,
        stage::{ALICE, BOB, Stage, after, ids, message, on_stage, user},
    },
    rooms::{
        receipts::{self, Kind, Receipt},
        send::{self, Message, Transaction},
        typing,
    },
    test_support::text,
};

mod caught_up;
mod model;

fn filtered(json: Value) -> Request {
    Request { filter: Filter::parse(&json.to_string()).unwrap().into(), ..Request::default() }
}

fn joined<'a>(stage: &Stage, answer: &'a Value) -> &'a Value {
    &answer["rooms"]["join"][stage.room.room_id.as_str()]
}

fn is_empty(answer: &Value) -> bool {
    answer["rooms"].as_object().unwrap().is_empty()
}

#[tokio::test]
async fn a_first_sync_has_timeline_and_state_before_it() {
    on_stage(async |mut stage| {
        stage.set("m.room.topic", json!({ "topic": "old" })).await;
        let topic = stage.set("m.room.topic", json!({ "topic": "new" })).await;
        let said = stage.say(ALICE, "hello").await;
        let request = filtered(json!({ "room": { "timeline": { "limit": 2 } } }));
        let answer = stage.sync(ALICE, request).await;
        let room = joined(&stage, &answer);
        assert_eq!(
            ids(&room["timeline"]["events"]),
            [topic.event_id.as_str(), said.event_id.as_str()]
        );
        assert_eq!(room["timeline"]["limited"], true);
        let state = room["state"]["events"].as_array().unwrap();
        let old = state.iter().find(|event| event["type"] == "m.room.topic").unwrap();
        assert_eq!(old["content"]["topic"], "old");
        let shown = &room["timeline"]["events"][0];
        assert_eq!(shown["unsigned"]["prev_content"]["topic"], "old");
        assert_eq!(shown["unsigned"]["prev_sender"], ALICE);
        assert_eq!(shown["unsigned"]["membership"], "join");
        assert!(shown.get("room_id").is_none() && shown["unsigned"]["age"].is_i64());
        assert_eq!(room["summary"]["m.joined_member_count"], 1);
        let again = stage.sync(ALICE, after(&answer)).await;
        assert!(is_empty(&again), "{again}");
    })
    .await;
}

#[tokio::test]
async fn who_sent_something_is_answered_before_it_is_shown() {
    on_stage(async |stage| {
        let engine = &stage.engine;
        let (alice, sends, reads) = (user(ALICE), device_id!("SENDS"), device_id!("READS"));
        let transaction = Transaction {
            device_id: sends.to_owned(),
            path: "send".to_owned(),
            txn_id: "1".to_owned(),
        };
        let unanswered = engine.answering.begin(&alice, &transaction);
        let hello = text(&stage.room.room_id, &alice, "hello");
        let hello = Message { transaction: Some(transaction), ..hello };
        send::message(engine, hello).await.unwrap();
        let sync = async |device_id| {
            let asking = Asking { user_id: &alice, device_id: Some(device_id) };
            let answer = super::sync(engine, asking, Request::default()).await.unwrap();
            let answer = serde_json::to_value(answer).unwrap();
            let event = joined(&stage, &answer)["timeline"]["events"].as_array().unwrap().last();
            event.unwrap()["unsigned"].get("transaction_id").cloned()
        };
        let is_answered = AtomicBool::new(false);
        let elsewhere = async {
            assert_eq!(sync(reads).await, None);
            is_answered.store(true, Ordering::Relaxed);
            drop(unanswered);
        };
        let here = async {
            assert_eq!(sync(sends).await, Some(json!("1")));
            assert!(is_answered.load(Ordering::Relaxed));
        };
        tokio::join!(here, elsewhere);
    })
    .await;
}

#[tokio::test]
async fn state_after_is_that_at_the_end() {
    on_stage(async |mut stage| {
        let answer = stage.sync(ALICE, Request::default()).await;
        stage.set("m.room.topic", json!({ "topic": "1" })).await;
        let name = stage.set("m.room.name", json!({ "name": "n" })).await;
        let topic = stage.set("m.room.topic", json!({ "topic": "2" })).await;
        let limited = json!({ "room": { "timeline": { "limit": 1 } } });
        let request = Request {
            state: StateWanted::After,
            filter: Filter::parse(&limited.to_string()).unwrap().into(),
            ..after(&answer)
        };
        let news = stage.sync(ALICE, request.clone()).await;
        let room = joined(&stage, &news);
        assert!(room.get("state").is_none());
        let mut found = ids(&room["state_after"]["events"]);
        found.sort();
        let mut wanted = [name.event_id.to_string(), topic.event_id.to_string()];
        wanted.sort();
        assert_eq!(found, wanted);
        let before =
            stage.sync(ALICE, Request { state: StateWanted::Before, ..request.clone() }).await;
        let state = &joined(&stage, &before)["state"]["events"];
        assert_eq!(state.as_array().unwrap().len(), 2, "the name, and the topic before the last");
        assert!(state.as_array().unwrap().iter().any(|event| event["content"]["topic"] == "1"));
        let unstable = Request { state: StateWanted::UnstableAfter, ..request };
        let renamed = stage.sync(ALICE, unstable).await;
        let renamed = joined(&stage, &renamed);
        let mut found = ids(&renamed["org.matrix.msc4222.state_after"]["events"]);
        found.sort();
        assert_eq!(found, wanted);
        assert!(renamed.get("state").is_none() && renamed.get("state_after").is_none());
        let quiet = stage.sync(ALICE, Request { state: StateWanted::After, ..after(&news) }).await;
        assert!(is_empty(&quiet));
    })
    .await;
}

#[tokio::test]
async fn a_long_poll_wakes_for_what_concerns_it() {
    on_stage(async |mut stage| {
        stage.member(BOB, BOB, "join").await;
        let answer = stage.sync(ALICE, Request::default()).await;
        let waiting = Request { timeout: Duration::from_secs(60), ..after(&answer) };
        let (engine, room_id) = (stage.engine.clone(), stage.room.room_id.clone());
        let (bob, alice) = (user(BOB), user(ALICE));

        let poll = async |request: Request| {
            let answer = super::sync(&engine, crate::reading::stage::asking(&alice), request);
            serde_json::to_value(answer.await.unwrap()).unwrap()
        };
        assert!(Box::pin(poll(waiting.clone())).now_or_never().is_none(), "there is nothing yet");

        let time = Some(Duration::from_secs(30));
        let (answer, _) = tokio::join!(poll(waiting), async {
            typing::set(&engine, &room_id, &bob, time).await.unwrap()
        });
        let event = &joined(&stage, &answer)["ephemeral"]["events"][0];
        assert_eq!(*event, json!({ "type": "m.typing", "content": { "user_ids": [BOB] } }));

        let waiting = Request { timeout: Duration::from_secs(60), ..after(&answer) };
        let last = stage.room.last.event_id.clone();
        let receipt = Receipt { kind: Kind::Read, event_id: last.clone(), thread_id: None };
        let (answer, _) = tokio::join!(poll(waiting), async {
            receipts::send(&engine, &room_id, &bob, &[receipt]).await.unwrap()
        });
        let event = &joined(&stage, &answer)["ephemeral"]["events"][0];
        assert!(event["content"][last.as_str()]["m.read"][BOB]["ts"].is_i64(), "{event}");

        let waiting = Request { timeout: Duration::from_secs(60), ..after(&answer) };
        let (answer, said) = tokio::join!(poll(waiting), stage.say(BOB, "hi"));
        let room = &answer["rooms"]["join"][room_id.as_str()];
        assert_eq!(ids(&room["timeline"]["events"]), [said.event_id.as_str()]);
        assert_eq!(room["unread_notifications"]["notification_count"], 1);
    })
    .await;
}

#[tokio::test]
async fn a_poll_ends_in_time_and_at_shutdown() {
    on_stage(async |stage| {
        let answer = stage.sync(ALICE, Request::default()).await;
        let short = Request { timeout: Duration::from_millis(10), ..after(&answer) };
        assert!(is_empty(&stage.sync(ALICE, short).await));
        let long = Request { timeout: Duration::from_secs(60), ..after(&answer) };
        let (answer, ()) = tokio::join!(stage.sync(ALICE, long), async {
            stage.engine.shutdown.cancel();
        });
        assert!(is_empty(&answer));
    })
    .await;
}

#[tokio::test]
async fn a_room_that_is_joined_meanwhile_comes_whole() {
    on_stage(async |mut stage| {
        stage.say(ALICE, "before").await;
        let answer = stage.sync(BOB, Request::default()).await;
        assert!(is_empty(&answer));
        stage.member(ALICE, BOB, "invite").await;
        let invited = stage.sync(BOB, after(&answer)).await;
        let invite = &invited["rooms"]["invite"][stage.room.room_id.as_str()]["invite_state"];
        let stripped = invite["events"].as_array().unwrap();
        assert!(stripped.iter().any(|event| event["type"] == "m.room.create"), "{invited}");
        assert!(stripped.iter().any(|event| event["state_key"] == BOB));
        assert!(stripped.iter().all(|event| event.get("event_id").is_none()));

        let join = stage.member(BOB, BOB, "join").await;
        let request = Request {
            filter: Filter::parse(r#"{"room":{"timeline":{"limit":1}}}"#).unwrap().into(),
            ..after(&invited)
        };
        let joined_answer = stage.sync(BOB, request).await;
        assert!(joined_answer["rooms"].get("invite").is_none());
        let room = joined(&stage, &joined_answer);
        assert_eq!(ids(&room["timeline"]["events"]), [join.event_id.as_str()]);
        assert_eq!(room["timeline"]["limited"], true);
        let kinds: Vec<_> = room["state"]["events"].as_array().unwrap().iter().collect();
        for kind in ["m.room.create", "m.room.power_levels", "m.room.join_rules"] {
            assert!(kinds.iter().any(|event| event["type"] == kind), "{kind}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_room_that_was_left_comes_once_and_no_later() {
    on_stage(async |mut stage| {
        stage.member(BOB, BOB, "join").await;
        let answer = stage.sync(BOB, Request::default()).await;
        let said = stage.say(ALICE, "goodbye").await;
        let kick = stage.member(ALICE, BOB, "leave").await;
        stage.say(ALICE, "he is gone").await;
        let topic = stage.set("m.room.topic", json!({ "topic": "secret" })).await;
        let news = stage.sync(BOB, after(&answer)).await;
        let left = &news["rooms"]["leave"][stage.room.room_id.as_str()];
        let events = ids(&left["timeline"]["events"]);
        assert_eq!(events, [said.event_id.as_str(), kick.event_id.as_str()]);
        assert!(!news.to_string().contains(topic.event_id.as_str()));
        assert!(is_empty(&stage.sync(BOB, after(&news)).await), "once");
        assert!(is_empty(&stage.sync(BOB, Request::default()).await), "not in a first one");

        let all = filtered(json!({ "room": { "include_leave": true } }));
        let first = stage.sync(BOB, all).await;
        let left = &first["rooms"]["leave"][stage.room.room_id.as_str()];
        let last = ids(&left["timeline"]["events"]).pop();
        assert_eq!(last.as_deref(), Some(kick.event_id.as_str()));
        assert!(!first.to_string().contains("secret"));
    })
    .await;
}

#[tokio::test]
async fn join_and_leave_in_one_gap_are_a_left_room() {
    on_stage(async |mut stage| {
        let answer = stage.sync(BOB, Request::default()).await;
        stage.member(BOB, BOB, "join").await;
        let leave = stage.member(BOB, BOB, "leave").await;
        let news = stage.sync(BOB, after(&answer)).await;
        assert!(news["rooms"].get("join").is_none());
        let left = &news["rooms"]["leave"][stage.room.room_id.as_str()];
        assert_eq!(ids(&left["timeline"]["events"]).pop().unwrap(), leave.event_id.as_str());
        // A rejected invite shows nothing of the room.
        stage.member(ALICE, BOB, "invite").await;
        let invited = stage.sync(BOB, after(&news)).await;
        let reject = stage.member(BOB, BOB, "leave").await;
        let news = stage.sync(BOB, after(&invited)).await;
        let left = &news["rooms"]["leave"][stage.room.room_id.as_str()];
        assert_eq!(ids(&left["timeline"]["events"]), [reject.event_id.as_str()]);
        assert_eq!(left["state"]["events"], json!([]));
    })
    .await;
}

#[tokio::test]
async fn lazily_loaded_members_are_those_of_the_timeline() {
    on_stage(async |mut stage| {
        for name in ["@bob:a.org", "@carol:a.org", "@dave:a.org"] {
            stage.member(name, name, "join").await;
        }
        stage.set("m.room.name", json!({ "name": "no heroes" })).await;
        stage.say(BOB, "hi").await;
        let lazy = json!({ "room": {
            "timeline": { "limit": 1 }, "state": { "lazy_load_members": true },
        } });
        let answer = stage.sync(ALICE, filtered(lazy.clone())).await;
        let members = |answer: &Value| -> Vec<String> {
            let state = joined(&stage, answer)["state"]["events"].as_array().unwrap().clone();
            let members = state.iter().filter(|event| event["type"] == "m.room.member");
            let mut members: Vec<String> =
                members.map(|event| event["state_key"].as_str().unwrap().to_owned()).collect();
            members.sort();
            members
        };
        assert_eq!(members(&answer), [ALICE, BOB], "the sender and oneself");
        // What changed in a gap is sent although nothing in the timeline needs it.
        stage.member("@carol:a.org", "@carol:a.org", "leave").await;
        stage.say(BOB, "bye").await;
        let filter = Arc::new(Filter::parse(&lazy.to_string()).unwrap());
        let news = stage.sync(ALICE, Request { filter, ..after(&answer) }).await;
        let state = joined(&stage, &news)["state"]["events"].as_array().unwrap();
        assert!(state.iter().any(|event| event["state_key"] == "@carol:a.org"), "{news}");
    })
    .await;
}

#[tokio::test]
async fn ignored_users_say_nothing_but_change_state() {
    on_stage(async |mut stage| {
        stage.member(BOB, BOB, "join").await;
        let mut change = starling_storage::Change::new();
        let (user_id, kind) = (ALICE.to_owned(), "m.ignored_user_list".to_owned());
        let room_id = String::new();
        let at = change.fact(starling_storage::Fact::AccountData {
            user_id: user_id.clone(),
            room_id: room_id.clone(),
            kind: kind.clone(),
        });
        let content = json!({ "ignored_users": { BOB: {} } }).to_string();
        change.write(starling_storage::account_data::Write::Put {
            user_id,
            room_id,
            kind,
            content,
            at,
        });
        stage.engine.storage.commit(change).await.unwrap();
        stage.say(BOB, "unheard").await;
        let leave = stage.member(BOB, BOB, "leave").await;
        let answer = stage.sync(ALICE, Request::default()).await;
        assert!(!answer.to_string().contains("unheard"));
        let events = ids(&joined(&stage, &answer)["timeline"]["events"]);
        assert_eq!(events.last().map(String::as_str), Some(leave.event_id.as_str()));
        assert_eq!(answer["account_data"]["events"][0]["type"], "m.ignored_user_list");
    })
    .await;
}

#[tokio::test]
async fn receipts_never_go_back_and_keep_to_their_threads() {
    on_stage(async |mut stage| {
        stage.member(BOB, BOB, "join").await;
        let first = stage.say(ALICE, "one").await;
        let mut reply = message(ALICE, "in the thread");
        reply.content["m.relates_to"] =
            json!({ "rel_type": "m.thread", "event_id": first.event_id });
        let reply = stage.send(reply).await;
        let last = stage.say(ALICE, "two").await;
        let (engine, bob) = (stage.engine.clone(), user(BOB));
        let room_id = stage.room.room_id.clone();
        let send = async |pdu: &crate::events::Pdu, thread: Option<&str>| {
            let thread_id = thread.map(ToOwned::to_owned);
            let event_id = pdu.event_id.clone();
            let receipt = Receipt { kind: Kind::Read, event_id, thread_id };
            receipts::send(&engine, &room_id, &bob, &[receipt]).await
        };
        let threads = json!({ "room": { "timeline": { "unread_thread_notifications": true } } });
        let counts = async || {
            let answer = stage.sync(BOB, filtered(threads.clone())).await;
            let room = joined(&stage, &answer).clone();
            let thread = &room["unread_thread_notifications"][first.event_id.as_str()];
            let count = |value: &Value| value["notification_count"].as_i64().unwrap_or(0);
            (count(&room["unread_notifications"]), count(thread))
        };
        assert_eq!(counts().await, (2, 1));
        let bad = async |pdu, thread| {
            let refused = send(pdu, Some(thread)).await;
            assert!(matches!(refused, Err(receipts::ReceiptError::BadThread(_))), "{thread}");
        };
        bad(&reply, "main").await;
        bad(&last, first.event_id.as_str()).await;
        bad(&last, "").await;
        send(&last, Some("main")).await.unwrap();
        assert_eq!(counts().await, (0, 1));
        send(&reply, Some(first.event_id.as_str())).await.unwrap();
        assert_eq!(counts().await, (0, 0));

        let answer = stage.sync(BOB, Request::default()).await;
        send(&first, Some("main")).await.unwrap();
        assert!(is_empty(&stage.sync(BOB, after(&answer)).await), "not back");
        let newer = stage.say(ALICE, "three").await;
        let (forth, back) = tokio::join!(send(&newer, None), send(&last, None));
        assert!(forth.is_ok() && back.is_ok());
        let answer = stage.sync(BOB, Request::default()).await.to_string();
        let read = format!("\"{}\":{{\"m.read\"", newer.event_id);
        assert!(answer.contains(&read), "not back either when both come at once: {answer}");
        let stranger = user("@x:a.org");
        let receipt =
            Receipt { kind: Kind::Read, event_id: last.event_id.clone(), thread_id: None };
        let refused = receipts::send(&engine, &room_id, &stranger, &[receipt]).await;
        assert!(matches!(refused, Err(receipts::ReceiptError::NotJoined)));
    })
    .await;
}

#[tokio::test]
async fn an_unthreaded_receipt_clears_all_before_it() {
    on_stage(async |mut stage| {
        stage.member(BOB, BOB, "join").await;
        let first = stage.say(ALICE, "one").await;
        let mut reply = message(ALICE, "in the thread");
        reply.content["m.relates_to"] =
            json!({ "rel_type": "m.thread", "event_id": first.event_id });
        stage.send(reply.clone()).await;
        let last = stage.say(ALICE, "two").await;
        reply.content["body"] = json!("again");
        stage.send(reply).await;
        let count = async || {
            let answer = stage.sync(BOB, Request::default()).await;
            joined(&stage, &answer)["unread_notifications"]["notification_count"].clone()
        };
        assert_eq!(count().await, 4);
        let receipt =
            Receipt { kind: Kind::Private, event_id: last.event_id.clone(), thread_id: None };
        let room_id = &stage.room.room_id;
        receipts::send(&stage.engine, room_id, &user(BOB), &[receipt]).await.unwrap();
        assert_eq!(count().await, 1);
        let answer = stage.sync(ALICE, Request::default()).await;
        assert!(!answer.to_string().contains("m.read.private"), "nobody else may know");
    })
    .await;
}

#[tokio::test]
async fn a_token_of_the_future_is_clamped() {
    on_stage(async |mut stage| {
        let mut answer = stage.sync(ALICE, Request::default()).await;
        let token = answer["next_batch"].as_str().unwrap().to_owned();
        let (pos, rest) = token.split_once('.').unwrap();
        assert!(pos.starts_with('s'));
        answer["next_batch"] = json!(format!("s999999999.{rest}"));
        // The answer leads on from the present, so what comes next is not missed.
        let answer = stage.sync(ALICE, after(&answer)).await;
        let said = stage.say(ALICE, "still here").await;
        let answer = stage.sync(ALICE, after(&answer)).await;
        let events = ids(&joined(&stage, &answer)["timeline"]["events"]);
        assert_eq!(events, [said.event_id.as_str()]);
    })
    .await;
}
