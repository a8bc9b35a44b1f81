//! GET /_matrix/client/v3/rooms/{roomId}/members

use serde_json::Value;
use starling_conformance::client::{User, path};

use crate::support;

async fn members(user: &User, room: &str, query: &[(&str, &str)]) -> Vec<String> {
    let mut target = path("/_matrix/client/v3/rooms/{}/members", &[room]);
    for (index, (name, value)) in query.iter().enumerate() {
        target.push(if index == 0 { '?' } else { '&' });
        target.push_str(&path(&format!("{name}={{}}"), &[value]));
    }
    let body = user.api.get(&target).await.unwrap().ok().unwrap();
    let id = |event: &Value| event["state_key"].as_str().unwrap().to_owned();
    let mut found: Vec<_> = body["chunk"].as_array().unwrap().iter().map(id).collect();
    found.sort();
    found
}

#[tokio::test]
async fn the_start_of_a_timeline_is_a_moment_of_the_room() {
    let (alice, bob) = (support::user("alice").await, support::user("bob").await);
    let room = alice.create_public_room().await.unwrap();
    alice.say(&room, "hello").await.unwrap();
    let answer = alice.api.get("/_matrix/client/v3/sync").await.unwrap().ok().unwrap();
    let before = answer["rooms"]["join"][&room]["timeline"]["prev_batch"].as_str().unwrap();
    let after = answer["next_batch"].as_str().unwrap();
    bob.join(&room, &[]).await.unwrap();
    assert_eq!(members(&alice, &room, &[("at", before)]).await, [alice.id.as_str()]);
    assert_eq!(members(&alice, &room, &[("at", after)]).await, [alice.id.as_str()]);
    assert_eq!(members(&alice, &room, &[]).await.len(), 2);
    bob.leave(&room).await.unwrap();
    assert_eq!(members(&alice, &room, &[("membership", "leave")]).await, [bob.id.as_str()]);
    assert_eq!(members(&alice, &room, &[("not_membership", "leave")]).await, [alice.id.as_str()]);
    let either = [("membership", "leave"), ("not_membership", "leave")];
    assert_eq!(members(&alice, &room, &either).await.len(), 2);
}

#[tokio::test]
async fn strangers_and_odd_tokens_are_refused() {
    let (alice, bob) = (support::user("alice").await, support::user("bob").await);
    let room = alice.create_public_room().await.unwrap();
    let target = path("/_matrix/client/v3/rooms/{}/members", &[&room]);
    bob.api.get(&target).await.unwrap().expect_error(403, "M_FORBIDDEN").unwrap();
    let odd = format!("{target}?at=yesterday");
    alice.api.get(&odd).await.unwrap().expect_error(400, "M_INVALID_PARAM").unwrap();
}
