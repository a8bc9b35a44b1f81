//! PUT /_matrix/client/v3/rooms/{roomId}/send/{eventType}/{txnId}

use serde_json::json;

use crate::support;

#[tokio::test]
async fn a_member_sends_a_message() {
    let alice = support::user("alice").await;
    let room = alice.create_public_room().await.unwrap();
    let id = alice.say(&room, "hello").await.unwrap();
    let event = alice.event(&room, &id).await.unwrap().ok().unwrap();
    assert_eq!(event["content"]["body"], "hello");
    assert_eq!(event["sender"], alice.id.as_str());
}

#[tokio::test]
async fn a_repeated_transaction_id_gives_the_same_event() {
    let alice = support::user("alice").await;
    let room = alice.create_public_room().await.unwrap();
    let content = json!({ "msgtype": "m.text", "body": "once" });
    let send = || alice.try_send(&room, "m.room.message", "the same", content.clone());
    let first = send().await.unwrap().ok().unwrap();
    let second = send().await.unwrap().ok().unwrap();
    assert_eq!(first, second);
    let history = alice.history(&room).await.unwrap();
    let times = history.iter().filter(|event| event["content"]["body"] == "once").count();
    assert_eq!(times, 1);
}

#[tokio::test]
async fn a_transaction_id_belongs_to_a_device() {
    let alice = support::user("alice").await;
    let other_device = alice.login().await.unwrap();
    let room = alice.create_public_room().await.unwrap();
    let content = json!({ "msgtype": "m.text", "body": "twice" });
    let first = alice.try_send(&room, "m.room.message", "t", content.clone()).await.unwrap();
    let second = other_device.try_send(&room, "m.room.message", "t", content).await.unwrap();
    assert_ne!(first.ok().unwrap(), second.ok().unwrap());
}

#[tokio::test]
async fn a_stranger_may_not_send() {
    let alice = support::user("alice").await;
    let stranger = support::user("stranger").await;
    let room = alice.create_public_room().await.unwrap();
    let content = json!({ "msgtype": "m.text", "body": "let me in" });
    let answer = stranger.try_send(&room, "m.room.message", "t", content).await.unwrap();
    answer.expect_error(403, "M_FORBIDDEN").unwrap();
}
