//! PUT /_matrix/client/v3/sendToDevice/{eventType}/{txnId}

use std::time::Duration;

use serde_json::{Value, json};
use starling_conformance::client::{Answer, Sync, User, path};

use crate::support;

async fn send(from: &User, txn_id: &str, messages: Value) -> Answer {
    let target = path("/_matrix/client/v3/sendToDevice/{}/{}", &["org.example.test", txn_id]);
    from.api.put(&target, json!({ "messages": messages })).await.unwrap()
}

/// The contents of the messages that a client without a token gets, and the token.
async fn sync(user: &User, since: Option<&str>) -> (Vec<Value>, String) {
    let target = match since {
        Some(since) => path("/_matrix/client/v3/sync?since={}", &[since]),
        None => "/_matrix/client/v3/sync".to_owned(),
    };
    let answer = user.api.get(&target).await.unwrap().ok().unwrap();
    let events = answer["to_device"]["events"].as_array().unwrap().clone();
    let contents = events.into_iter().map(|event| event["content"]["n"].clone());
    (contents.collect(), answer["next_batch"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn a_message_comes_to_the_device_it_is_for() {
    let (alice, bob) = (support::user("alice").await, support::user("bob").await);
    let second = bob.login().await.unwrap();
    let mut waiting = Sync::start(&bob).await.unwrap();
    let content = json!({ "n": 1, "float": 1.5 });
    send(&alice, "1", json!({ &bob.id: { &bob.device: content } })).await.ok().unwrap();
    let wanted = json!({ "type": "org.example.test", "sender": alice.id, "content": content });
    let has_it = |answer: &Value| answer["to_device"]["events"] == json!([wanted]);
    waiting.until("the message", has_it).await.unwrap();
    assert!(sync(&second, None).await.0.is_empty());
    let all = json!({ &bob.id: { "*": { "n": 2 }, &second.device: { "n": 3 } } });
    send(&alice, "2", all).await.ok().unwrap();
    assert_eq!(sync(&bob, None).await.0, [1, 2]);
    assert_eq!(sync(&second, None).await.0, [3]);
}

#[tokio::test]
async fn a_message_comes_once_and_stays_until_the_device_has_it() {
    let (alice, bob) = (support::user("alice").await, support::user("bob").await);
    let (_, start) = sync(&bob, None).await;
    for _ in 0..2 {
        send(&alice, "same", json!({ &bob.id: { "*": { "n": 1 } } })).await.ok().unwrap();
    }
    let (messages, next) = sync(&bob, Some(&start)).await;
    assert_eq!(messages, [1]);
    assert_eq!(sync(&bob, Some(&start)).await.0, [1], "the answer may have been lost");
    assert!(sync(&bob, Some(&next)).await.0.is_empty());
    assert!(sync(&bob, Some(&start)).await.0.is_empty(), "it has been acknowledged");
}

#[tokio::test]
async fn many_messages_come_in_order_in_several_answers() {
    let (alice, bob) = (support::user("alice").await, support::user("bob").await);
    let (_, mut token) = sync(&bob, None).await;
    for number in 0..230 {
        let messages = json!({ &bob.id: { &bob.device: { "n": number } } });
        send(&alice, &format!("n{number}"), messages).await.ok().unwrap();
    }
    let mut all = Vec::new();
    for size in [100, 100, 30, 0] {
        let (messages, next) = sync(&bob, Some(&token)).await;
        assert_eq!(messages.len(), size);
        all.extend(messages);
        token = next;
    }
    assert_eq!(all, (0..230).map(Value::from).collect::<Vec<_>>());
}

#[tokio::test]
async fn messages_go_with_their_device() {
    let (alice, bob) = (support::user("alice").await, support::user("bob").await);
    let second = bob.login().await.unwrap();
    send(&alice, "1", json!({ &bob.id: { &second.device: { "n": 1 } } })).await.ok().unwrap();
    second.api.post("/_matrix/client/v3/logout", json!({})).await.unwrap().ok().unwrap();
    send(&alice, "2", json!({ &bob.id: { &second.device: { "n": 2 } } })).await.ok().unwrap();
    let body = json!({
        "type": "m.login.password",
        "identifier": { "type": "m.id.user", "user": bob.id },
        "password": starling_conformance::client::PASSWORD,
        "device_id": second.device,
    });
    let answer = bob.api.post("/_matrix/client/v3/login", body).await.unwrap();
    let again = User::from_login(&bob.api, answer).unwrap();
    assert_eq!(again.device, second.device);
    assert!(sync(&again, None).await.0.is_empty());
}

#[tokio::test]
async fn nothing_is_lost_when_the_server_is_killed() {
    let server = support::start(support::spec()).await;
    let alice = User::register(&server, "alice").await.unwrap();
    let bob = User::register(&server, "bob").await.unwrap();
    send(&alice, "1", json!({ &bob.id: { "*": { "n": 1 } } })).await.ok().unwrap();
    server.kill().unwrap();
    server.resume().await.unwrap();
    send(&alice, "1", json!({ &bob.id: { "*": { "n": 1 } } })).await.ok().unwrap();
    assert_eq!(sync(&bob, None).await.0, [1]);
}

#[tokio::test]
async fn what_is_no_message_is_refused() {
    let (alice, bob) = (support::user("alice").await, support::user("bob").await);
    let answer = send(&alice, "1", json!({ "nobody": { "*": {} } })).await;
    answer.expect_error(400, "M_INVALID_PARAM").unwrap();
    let answer = send(&alice, "2", json!({ &bob.id: { "*": 7 } })).await;
    answer.expect_error(400, "M_BAD_JSON").unwrap();
    let answer = send(&alice, "3", json!({ &bob.id: [] })).await;
    answer.expect_error(400, "M_BAD_JSON").unwrap();
    let large = json!({ &bob.id: { "*": { "n": "x".repeat(70_000) } } });
    send(&alice, "4", large).await.expect_error(413, "M_TOO_LARGE").unwrap();
    let target = path("/_matrix/client/v3/sendToDevice/{}/{}", &["org.example.test", "5"]);
    let answer = alice.api.put(&target, json!({})).await.unwrap();
    answer.expect_error(400, "M_MISSING_PARAM").unwrap();
    let long = path("/_matrix/client/v3/sendToDevice/{}/6", &[&"x".repeat(256)]);
    let answer = alice.api.put(&long, json!({ "messages": {} })).await.unwrap();
    answer.expect_error(400, "M_INVALID_PARAM").unwrap();
    let anonymous = support::anonymous().await.put(&target, json!({})).await.unwrap();
    anonymous.expect_error(401, "M_MISSING_TOKEN").unwrap();
    let mut waiting = Sync::start(&bob).await.unwrap();
    let answer = waiting.poll(Duration::ZERO).await.unwrap();
    assert_eq!(answer["to_device"]["events"], json!([]));
}
