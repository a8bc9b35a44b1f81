//! Those who were told everything are answered without reading, and miss nothing by it.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use serde_json::{Value, json};
use starling_storage::{
    Change,
    accounts::{self, devices},
};

use super::{Request, is_empty, joined};
use crate::{
    encryption::{
        claim,
        upload::{self, Upload},
    },
    reading::{
        access::Asking,
        filter::Filter,
        stage::{ALICE, BOB, Stage, after, ids, message, on_stage, user},
    },
    rooms::{
        receipts::{self, Kind, Receipt},
        typing,
    },
    test_support::raw,
};

/// Something happens that is none of Alice's business.
async fn read_in_private(stage: &Stage, event_id: &ruma::EventId) {
    let event_id = event_id.to_owned();
    let receipt = Receipt { kind: Kind::Private, event_id, thread_id: None };
    let room_id = stage.room.room_id.clone();
    receipts::send(&stage.engine, &room_id, &user(BOB), &[receipt]).await.unwrap();
    settled(stage).await;
}

/// Everybody whom the commits concern has been woken.
async fn settled(stage: &Stage) {
    while stage.engine.notifier.told() < stage.engine.storage.feed().head() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn whom_nothing_concerns_is_answered_without_reading() {
    on_stage(async |mut stage| {
        stage.member(BOB, BOB, "join").await;
        let said = stage.say(ALICE, "hello").await;
        let first = stage.sync(ALICE, Request::default()).await;
        read_in_private(&stage, &said.event_id).await;
        let second = stage.sync(ALICE, after(&first)).await;
        assert!(is_empty(&second));
        assert_eq!(second["next_batch"], first["next_batch"], "the present was not looked at");
        // Who asks for something else is not answered from memory.
        let filter = Arc::new(Filter::parse(r#"{"room":{"rooms":[]}}"#).unwrap());
        let third = stage.sync(ALICE, Request { filter, ..after(&second) }).await;
        assert_ne!(third["next_batch"], first["next_batch"]);
        let whole = Request { full_state: true, ..after(&third) };
        assert!(!is_empty(&stage.sync(ALICE, whole).await));
        assert!(is_empty(&stage.sync(ALICE, after(&first)).await), "an old token");
    })
    .await;
}

#[tokio::test]
async fn what_is_acknowledged_is_shown_by_the_next_sync() {
    on_stage(async |mut stage| {
        let mut answer = stage.sync(ALICE, Request::default()).await;
        for _ in 0..20 {
            answer = stage.sync(ALICE, after(&answer)).await;
            assert!(is_empty(&answer));
            let said = stage.say(ALICE, "hello").await;
            answer = stage.sync(ALICE, after(&answer)).await;
            let events = &joined(&stage, &answer)["timeline"]["events"];
            assert_eq!(ids(events), [said.event_id.as_str()]);
        }
    })
    .await;
}

#[tokio::test]
async fn only_what_was_heard_of_is_read() {
    on_stage(async |mut stage| {
        stage.member(BOB, BOB, "join").await;
        let first = stage.sync(ALICE, Request::default()).await;
        let polls = stage.engine.measures.clone();
        let followed = || polls.sync.followed.get();

        let said = stage.say(BOB, "hello").await;
        let second = stage.sync(ALICE, after(&first)).await;
        let room = joined(&stage, &second);
        assert_eq!(ids(&room["timeline"]["events"]), [said.event_id.as_str()]);
        assert_eq!(room["unread_notifications"]["notification_count"], 1);
        assert_eq!(room["state"]["events"].as_array().map(Vec::len), Some(0));
        assert_eq!(followed(), 1);
        // Whoever did not get the answer asks again.
        let again = stage.sync(ALICE, after(&first)).await;
        assert_eq!(ids(&joined(&stage, &again)["timeline"]["events"]), [said.event_id.as_str()]);
        assert_eq!(followed(), 1, "it was looked for");

        let receipt =
            Receipt { kind: Kind::Read, event_id: said.event_id.clone(), thread_id: None };
        let room_id = stage.room.room_id.clone();
        receipts::send(&stage.engine, &room_id, &user(BOB), &[receipt]).await.unwrap();
        let third = stage.sync(ALICE, after(&again)).await;
        let kinds = |answer: &Value| {
            let events = joined(&stage, answer)["ephemeral"]["events"].as_array().unwrap().clone();
            events
                .iter()
                .map(|event| event["type"].as_str().unwrap().to_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(kinds(&third), ["m.receipt"]);
        let events = &joined(&stage, &third)["timeline"]["events"];
        assert_eq!(events.as_array().map(Vec::len), Some(0));
        assert_eq!(followed(), 2);
        // Who types has no position: it is looked for, from where it was looked for last.
        let time = Some(Duration::from_secs(20));
        typing::set(&stage.engine, &room_id, &user(BOB), time).await.unwrap();
        let third = stage.sync(ALICE, after(&third)).await;
        assert_eq!(kinds(&third), ["m.typing"]);
        assert_eq!(followed(), 2);

        let topic = stage.set("m.room.topic", json!({ "topic": "new" })).await;
        let fourth = stage.sync(ALICE, after(&third)).await;
        let room = joined(&stage, &fourth);
        assert_eq!(ids(&room["timeline"]["events"]), [topic.event_id.as_str()]);
        let said = stage.say(ALICE, "and then").await;
        stage.member(BOB, BOB, "leave").await;
        let fifth = stage.sync(ALICE, after(&fourth)).await;
        let room = joined(&stage, &fifth);
        assert_eq!(ids(&room["timeline"]["events"])[0], said.event_id.as_str());
        assert_eq!(room["summary"]["m.joined_member_count"], 1);
        assert_eq!(followed(), 2, "who is there, and what the state is, is looked up");

        stage.say(ALICE, "alone").await;
        let sixth = stage.sync(ALICE, after(&fifth)).await;
        assert_eq!(joined(&stage, &sixth)["timeline"]["events"].as_array().map(Vec::len), Some(1));
        assert_eq!(followed(), 3);
    })
    .await;
}

#[tokio::test]
async fn what_was_heard_of_is_told_as_if_it_had_been_looked_for() {
    on_stage(async |mut stage| {
        let cases =
            [(1, 10), (12, 10), (12, 3), (12, 30), (19, 30), (20, 30), (25, 30), (25, 5), (2, 0)];
        for (said, limit) in cases {
            let filter = format!(r#"{{"room":{{"timeline":{{"limit":{limit}}}}}}}"#);
            let filter = Arc::new(Filter::parse(&filter).unwrap());
            let request = Request { filter: filter.clone(), ..Request::default() };
            let first = stage.sync(ALICE, request).await;
            for _ in 0..said {
                stage.say(ALICE, "hello").await;
            }
            let followed = stage.engine.measures.sync.followed.get();
            let request = Request { filter, ..after(&first) };
            let heard = stage.sync(ALICE, request.clone()).await;
            assert_eq!(stage.engine.measures.sync.followed.get(), followed + 1, "{said} {limit}");
            let found = stage.sync(ALICE, request).await;
            let timeline = |answer| {
                let timeline = joined(&stage, answer)["timeline"].clone();
                let shown = ids(&timeline["events"]);
                (shown, timeline["limited"].clone(), timeline["prev_batch"].clone())
            };
            assert_eq!(timeline(&heard), timeline(&found), "{said} {limit}");
            assert_eq!(timeline(&heard).0.len(), said.min(limit));
            assert_eq!(timeline(&heard).1, said > limit);
        }
    })
    .await;
}

#[tokio::test]
async fn who_was_put_out_meanwhile_is_told_what_came_before() {
    on_stage(async |mut stage| {
        stage.member(BOB, BOB, "join").await;
        let first = stage.sync(BOB, Request::default()).await;
        let said = stage.say(ALICE, "goodbye").await;
        let kick = stage.member(ALICE, BOB, "leave").await;
        let second = stage.sync(BOB, after(&first)).await;
        let left = &second["rooms"]["leave"][stage.room.room_id.as_str()];
        let expected = [said.event_id.as_str(), kick.event_id.as_str()];
        assert_eq!(ids(&left["timeline"]["events"]), expected);
    })
    .await;
}

#[tokio::test]
async fn two_requests_of_one_device_are_both_told() {
    on_stage(async |mut stage| {
        let first = stage.sync(ALICE, Request::default()).await;
        let waits = Request { timeout: Duration::from_secs(30), ..after(&first) };
        let said = stage.room.send(message(ALICE, "hello"));
        let polls = &stage.engine.measures.sync;
        let both_wait = async {
            while polls.waiting.get() < 2 {
                tokio::task::yield_now().await;
            }
            stage.append(std::slice::from_ref(&said)).await;
        };
        let (one, other) = (stage.sync(ALICE, waits.clone()), stage.sync(ALICE, waits));
        let (one, other, ()) = tokio::join!(one, other, both_wait);
        for answer in [one, other] {
            let events = &joined(&stage, &answer)["timeline"]["events"];
            assert_eq!(ids(events), [said.event_id.as_str()]);
        }
        assert_eq!(polls.followed.get(), 1, "one took the news, the other looked for them");
    })
    .await;
}

#[tokio::test]
async fn the_count_of_keys_is_that_of_the_present() {
    on_stage(async |stage| {
        let (user_id, device_id) = (ALICE.to_owned(), "DEVICE".to_owned());
        let device = devices::DeviceRow { user_id, device_id, ..devices::DeviceRow::default() };
        let mut change = Change::new();
        change.write(accounts::Write::Device(devices::Write::Add(device)));
        stage.engine.storage.commit(change).await.unwrap();
        let mut answer = stage.sync(ALICE, Request::default()).await;
        let signed = |name: &str, more: Value| {
            let mut key = json!({ "key": "AAAA" });
            key["signatures"] = json!({ ALICE: { "ed25519:DEVICE": "AAAA" } });
            key.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            BTreeMap::from([(format!("signed_curve25519:{name}"), raw(key))])
        };
        let (user_id, engine) = (user(ALICE), &stage.engine);
        let upload = async |one_time_keys, fallback_keys| {
            let upload = Upload { device_keys: None, one_time_keys, fallback_keys };
            upload::upload(engine, &user_id, "DEVICE".into(), upload).await.unwrap();
        };
        let claim = async || {
            let algorithm = "signed_curve25519".to_owned();
            let devices = BTreeMap::from([("DEVICE".to_owned(), algorithm)]);
            let wanted = BTreeMap::from([(ALICE.to_owned(), devices)]);
            assert_eq!(claim::local(engine, &wanted).await.unwrap().len(), 1);
        };
        let read = engine.measures.sync.read.get();
        let mut is_told = async |left: u64, fallback: &[&str]| {
            answer = stage.sync(ALICE, after(&answer)).await;
            assert!(is_empty(&answer));
            assert_eq!(answer["device_one_time_keys_count"]["signed_curve25519"], left);
            assert_eq!(answer["device_unused_fallback_key_types"], json!(fallback));
        };
        is_told(0, &[]).await;
        upload(signed("A", json!({})), BTreeMap::new()).await;
        is_told(1, &[]).await;
        upload(BTreeMap::new(), signed("F", json!({ "fallback": true }))).await;
        is_told(1, &["signed_curve25519"]).await;
        claim().await;
        is_told(0, &["signed_curve25519"]).await;
        claim().await;
        is_told(0, &[]).await;
        assert_eq!(engine.measures.sync.read.get(), read, "nothing but the count was looked at");
    })
    .await;
}

#[tokio::test]
async fn who_waits_takes_little_room() {
    on_stage(async |stage| {
        let (user_id, request) = (user(ALICE), Request::default());
        let asking = Asking { user_id: &user_id, device_id: None };
        let bytes = size_of_val(&crate::sync::sync(&stage.engine, asking, request));
        assert!(bytes < 4_000, "{bytes} bytes for as long as a client waits");
    })
    .await;
}
