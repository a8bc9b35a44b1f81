//! GET /_matrix/client/unstable/org.matrix.msc4140/delayed_events
//! GET /_matrix/client/unstable/org.matrix.msc4140/delayed_events/{delayId}
//! POST /_matrix/client/unstable/org.matrix.msc4140/delayed_events/{delayId}
//! POST /_matrix/client/unstable/org.matrix.msc4140/delayed_events/{delayId}/cancel
//! POST /_matrix/client/unstable/org.matrix.msc4140/delayed_events/{delayId}/restart
//! POST /_matrix/client/unstable/org.matrix.msc4140/delayed_events/{delayId}/send
//! PUT /_matrix/client/unstable/org.matrix.msc4140/rooms/{roomId}/delayed_event/{eventType}/{txnId}

use serde_json::{Value, json};
use starling_conformance::client::{Answer, Api, Sync, User, path, text};

use crate::support;

const EVENTS: &str = "/_matrix/client/unstable/org.matrix.msc4140/delayed_events";
const KIND: &str = "org.example";

/// Longer than any test takes.
const LONG: i64 = 3_600_000;

async fn message(user: &User, room: &str, txn: &str, delay_ms: i64, content: Value) -> Answer {
    let target = path("/_matrix/client/v3/rooms/{}/send/{}/{}", &[room, KIND, txn]);
    let target = format!("{target}?org.matrix.msc4140.delay={delay_ms}");
    user.api.put(&target, content).await.unwrap()
}

async fn state(user: &User, room: &str, key: &str, delay_ms: i64, content: Value) -> Answer {
    let target = path("/_matrix/client/v3/rooms/{}/state/{}/{}", &[room, KIND, key]);
    let target = format!("{target}?org.matrix.msc4140.delay={delay_ms}");
    user.api.put(&target, content).await.unwrap()
}

fn id(answer: Answer) -> String {
    text(&answer.ok().unwrap(), "/delay_id").unwrap().to_owned()
}

async fn waiting(user: &User) -> Vec<Value> {
    let answer = user.api.get(EVENTS).await.unwrap().ok().unwrap();
    answer["delayed_events"].as_array().unwrap().clone()
}

async fn manage(api: &Api, id: &str, action: &str) -> Answer {
    api.post(&format!("{EVENTS}/{id}/{action}"), json!({})).await.unwrap()
}

async fn seen(sync: &mut Sync, room: &str, content: Value) {
    let what = format!("an event with {content}");
    let is_it = |event: &Value| event["type"] == KIND && event["content"] == content;
    sync.event(room, &what, is_it).await.unwrap();
}

fn count(sync: &Sync, room: &str, content: &Value) -> usize {
    sync.timeline(room).iter().filter(|event| event["content"] == *content).count()
}

#[tokio::test]
async fn what_waits_is_told_to_its_sender_and_sent_when_it_is_due() {
    let (alice, bob) = (support::user("alice").await, support::user("bob").await);
    let room = alice.create_public_room().await.unwrap();
    let mut sync = Sync::start(&alice).await.unwrap();
    let first = id(message(&alice, &room, "1", LONG, json!({ "n": 1 })).await);
    assert_eq!(id(message(&alice, &room, "1", LONG, json!({})).await), first, "the same request");
    let second = id(state(&alice, &room, "key", LONG, json!({ "n": 2 })).await);
    let events = waiting(&alice).await;
    let [one, two] = &*events else { panic!("{events:?}") };
    assert_eq!((&one["delay_id"], &one["room_id"]), (&json!(first), &json!(room)));
    assert_eq!((&one["type"], &one["delay"]), (&json!(KIND), &json!(LONG)));
    assert_eq!((&one["content"], one.get("state_key")), (&json!({ "n": 1 }), None));
    assert!(one["running_since"].is_i64());
    assert_eq!((&two["delay_id"], &two["state_key"]), (&json!(second), &json!("key")));
    let own = format!("{EVENTS}/{first}");
    assert_eq!(alice.api.get(&own).await.unwrap().ok().unwrap(), *one);
    assert!(waiting(&bob).await.is_empty());
    bob.api.get(&own).await.unwrap().expect_error(404, "M_NOT_FOUND").unwrap();
    message(&alice, &room, "2", 1, json!({ "n": 3 })).await.ok().unwrap();
    seen(&mut sync, &room, json!({ "n": 3 })).await;
    state(&alice, &room, "key", 1, json!({ "n": 4 })).await.ok().unwrap();
    seen(&mut sync, &room, json!({ "n": 4 })).await;
    assert_eq!(count(&sync, &room, &json!({ "n": 1 })), 0);
}

#[tokio::test]
async fn who_knows_the_name_manages_it() {
    let alice = support::user("alice").await;
    let anonymous = support::anonymous().await;
    let room = alice.create_public_room().await.unwrap();
    let mut sync = Sync::start(&alice).await.unwrap();
    let cancelled = id(message(&alice, &room, "1", LONG, json!({ "n": 1 })).await);
    let restarted = id(message(&alice, &room, "2", LONG, json!({ "n": 2 })).await);
    let sent = id(message(&alice, &room, "3", LONG, json!({ "n": 3 })).await);
    let since = waiting(&alice).await[1]["running_since"].as_i64().unwrap();
    manage(&anonymous, &cancelled, "cancel").await.ok().unwrap();
    let other_form = format!("{EVENTS}/{restarted}");
    let answer = anonymous.post(&other_form, json!({ "action": "restart" })).await.unwrap();
    answer.ok().unwrap();
    manage(&anonymous, &restarted, "restart").await.ok().unwrap();
    manage(&alice.api, &sent, "send").await.ok().unwrap();
    seen(&mut sync, &room, json!({ "n": 3 })).await;
    let left = waiting(&alice).await;
    assert_eq!((left.len(), &left[0]["delay_id"]), (1, &json!(restarted)));
    assert!(left[0]["running_since"].as_i64().unwrap() >= since);
    for gone in [&*cancelled, &*sent, "nothing"] {
        for action in ["cancel", "restart", "send"] {
            let answer = manage(&anonymous, gone, action).await;
            answer.expect_error(404, "M_NOT_FOUND").unwrap();
        }
        let body = json!({ "action": "cancel" });
        let answer = anonymous.post(&format!("{EVENTS}/{gone}"), body).await.unwrap();
        answer.expect_error(404, "M_NOT_FOUND").unwrap();
    }
    let answer = anonymous.post(&other_form, json!({ "action": "oops" })).await.unwrap();
    answer.expect_error(400, "M_INVALID_PARAM").unwrap();
    let answer = anonymous.post(&other_form, json!({})).await.unwrap();
    answer.expect_error(400, "M_MISSING_PARAM").unwrap();
    manage(&anonymous, &restarted, "oops").await.expect_error(404, "M_UNRECOGNIZED").unwrap();
    assert_eq!(count(&sync, &room, &json!({ "n": 1 })), 0);
}

#[tokio::test]
async fn the_request_of_its_own_has_messages_and_state_wait() {
    let alice = support::user("alice").await;
    let room = alice.create_public_room().await.unwrap();
    let template =
        "/_matrix/client/unstable/org.matrix.msc4140/rooms/{}/delayed_event/org.example/{}";
    let put = async |txn: &str, body: Value| {
        alice.api.put(&path(template, &[&room, txn]), body).await.unwrap()
    };
    let first = id(put("1", json!({ "delay_ms": LONG, "content": { "n": 1 } })).await);
    assert_eq!(id(put("1", json!({ "delay_ms": LONG, "content": {} })).await), first);
    id(put("2", json!({ "delay": LONG, "state_key": "k", "content": {} })).await);
    let events = waiting(&alice).await;
    assert_eq!((events.len(), &events[1]["state_key"]), (2, &json!("k")));
    for (body, errcode) in [
        (json!({ "content": {} }), "M_MISSING_PARAM"),
        (json!({ "delay_ms": LONG, "content": 5 }), "M_BAD_JSON"),
        (json!({ "delay_ms": -1, "content": {} }), "M_INVALID_PARAM"),
    ] {
        put("3", body).await.expect_error(400, errcode).unwrap();
    }
}

#[tokio::test]
async fn refusals() {
    let (alice, bob) = (support::user("alice").await, support::user("bob").await);
    let anonymous = support::anonymous().await;
    let room = alice.create_public_room().await.unwrap();
    message(&bob, &room, "1", LONG, json!({})).await.expect_error(403, "M_FORBIDDEN").unwrap();
    message(&alice, &room, "1", 0, json!({})).await.expect_error(400, "M_INVALID_PARAM").unwrap();
    state(&alice, &room, "", -5, json!({})).await.expect_error(400, "M_INVALID_PARAM").unwrap();
    let too_long = message(&alice, &room, "1", 100_000_000_000, json!({})).await;
    let too_long = too_long.expect_error(403, "M_FORBIDDEN").unwrap();
    assert_eq!(too_long["org.matrix.msc4140.errcode"], "M_MAX_DELAY_EXCEEDED");
    assert_eq!(too_long["org.matrix.msc4140.max_delay"], 86_400_000);
    let large = json!({ "x": "x".repeat(65_000) });
    message(&alice, &room, "1", LONG, large).await.expect_error(413, "M_TOO_LARGE").unwrap();
    for target in [EVENTS, &format!("{EVENTS}/x")] {
        anonymous.get(target).await.unwrap().expect_error(401, "M_MISSING_TOKEN").unwrap();
    }
    // What the rules of the room forbid is found out when it is to be sent.
    bob.join(&room, &[]).await.unwrap();
    let not_his = id(state(&bob, &room, "", LONG, json!({})).await);
    manage(&bob.api, &not_his, "send").await.expect_error(403, "M_FORBIDDEN").unwrap();
    assert!(waiting(&bob).await.is_empty(), "it is not tried again");
    for number in 0..100 {
        id(message(&alice, &room, &format!("n{number}"), LONG, json!({})).await);
    }
    let answer = message(&alice, &room, "n100", LONG, json!({})).await;
    let answer = answer.expect_error(403, "M_FORBIDDEN").unwrap();
    assert_eq!(answer["org.matrix.msc4140.errcode"], "M_MAX_DELAYED_EVENTS_EXCEEDED");
    let capabilities = alice.api.get("/_matrix/client/v3/capabilities").await.unwrap();
    let capabilities = capabilities.ok().unwrap();
    let limits = &capabilities["capabilities"]["org.matrix.msc4140.delayed_events"];
    assert_eq!(*limits, json!({ "max_delay_ms": 86_400_000, "max_scheduled": 100 }));
}

#[tokio::test]
async fn where_they_are_switched_off_nothing_is_sent_at_once_instead() {
    let server = support::server_with(&[("DELAYED_EVENTS__ENABLED", "false")]).await;
    let alice = User::register(&server, "alice").await.unwrap();
    let room = alice.create_public_room().await.unwrap();
    message(&alice, &room, "1", 1, json!({})).await.expect_error(403, "M_FORBIDDEN").unwrap();
    let versions = alice.api.get("/_matrix/client/versions").await.unwrap().ok().unwrap();
    assert_eq!(versions["unstable_features"]["org.matrix.msc4140"], false);
    let timeline = alice.history(&room).await.unwrap();
    assert!(timeline.iter().all(|event| event["type"] != KIND));
}

/// However the server ends: what became due meanwhile is sent when it is there again, once; the rest waits.
#[tokio::test]
async fn events_outlive_the_server() {
    for kill in [true, false] {
        let server = support::start(support::spec()).await;
        let alice = User::register(&server, "alice").await.unwrap();
        let room = alice.create_public_room().await.unwrap();
        let mut sync = Sync::start(&alice).await.unwrap();
        let waits = id(message(&alice, &room, "1", LONG, json!({ "n": 1 })).await);
        // The server is gone before it can be due.
        message(&alice, &room, "2", 3_000, json!({ "n": 2 })).await.ok().unwrap();
        match kill {
            true => server.kill().unwrap(),
            false => assert_eq!(server.stop().unwrap(), Some(0)),
        }
        server.resume().await.unwrap();
        seen(&mut sync, &room, json!({ "n": 2 })).await;
        let left = waiting(&alice).await;
        assert_eq!((left.len(), &left[0]["delay_id"]), (1, &json!(waits)));
        server.kill().unwrap();
        server.resume().await.unwrap();
        manage(&alice.api, &waits, "send").await.ok().unwrap();
        seen(&mut sync, &room, json!({ "n": 1 })).await;
        for content in [json!({ "n": 1 }), json!({ "n": 2 })] {
            assert_eq!(count(&sync, &room, &content), 1);
        }
        assert!(waiting(&alice).await.is_empty());
    }
}
