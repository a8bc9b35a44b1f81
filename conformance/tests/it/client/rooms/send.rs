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

#[tokio::test]
async fn a_thread_begins_with_an_event_that_relates_to_none() {
    let alice = support::user("alice").await;
    let room = alice.create_public_room().await.unwrap();
    let root = alice.say(&room, "root").await.unwrap();
    let thread = |root: &str| {
        let relation = json!({ "rel_type": "m.thread", "event_id": root });
        json!({ "msgtype": "m.text", "body": "x", "m.relates_to": relation })
    };
    let reply = alice.send(&room, "m.room.message", thread(&root)).await.unwrap();
    let answer = alice.try_send(&room, "m.room.message", "t", thread(&reply)).await.unwrap();
    answer.expect_error(400, "M_UNKNOWN").unwrap();
    alice.send(&room, "m.room.message", thread("$unknown")).await.unwrap();
}

#[tokio::test]
async fn nobody_reacts_twice_in_the_same_way() {
    let alice = support::user("alice").await;
    let bob = support::user("bob").await;
    let room = alice.create_public_room().await.unwrap();
    bob.join(&room, &[]).await.unwrap();
    let target = alice.say(&room, "target").await.unwrap();
    let reaction = |key: &str| {
        let relation = json!({ "rel_type": "m.annotation", "event_id": target, "key": key });
        json!({ "m.relates_to": relation })
    };
    let first = alice.send(&room, "m.reaction", reaction("👍")).await.unwrap();
    let again = alice.try_send(&room, "m.reaction", "t", reaction("👍")).await.unwrap();
    again.expect_error(400, "M_DUPLICATE_ANNOTATION").unwrap();
    alice.send(&room, "m.reaction", reaction("👎")).await.unwrap();
    alice.send(&room, "org.example.reaction", reaction("👍")).await.unwrap();
    bob.send(&room, "m.reaction", reaction("👍")).await.unwrap();
    alice.redact(&room, &first).await.unwrap();
    alice.send(&room, "m.reaction", reaction("👍")).await.unwrap();
}
