//! POST /_matrix/client/v3/knock/{roomIdOrAlias}

use serde_json::json;
use starling_conformance::client::{Answer, Sync, User, path};

use crate::support;

async fn knock(user: &User, room: &str) -> Answer {
    let target = path("/_matrix/client/v3/knock/{}", &[room]);
    user.api.post(&target, json!({ "reason": "may I?" })).await.unwrap()
}

#[tokio::test]
async fn somebody_knocks_and_is_let_in() {
    let alice = support::user("alice").await;
    let bob = support::user("bob").await;
    let rule = json!({ "type": "m.room.join_rules", "content": { "join_rule": "knock" } });
    let room = alice.create_room(json!({ "initial_state": [rule] })).await.unwrap();
    let mut sync = Sync::start(&alice).await.unwrap();
    let answer = knock(&bob, &room).await.ok().unwrap();
    assert_eq!(answer, json!({ "room_id": room }));
    let seen = sync.membership(&room, &bob.id, "knock").await.unwrap();
    assert_eq!(seen["content"]["reason"], "may I?");
    alice.invite(&room, &bob.id).await.unwrap();
    bob.join(&room, &[]).await.unwrap();
}

#[tokio::test]
async fn not_every_door_is_for_knocking() {
    let alice = support::user("alice").await;
    let bob = support::user("bob").await;
    let room = alice.create_room(json!({ "preset": "private_chat" })).await.unwrap();
    knock(&bob, &room).await.expect_error(403, "M_FORBIDDEN").unwrap();
    knock(&alice, &room).await.expect_error(403, "M_FORBIDDEN").unwrap();
    let nowhere =
        "#nowhere:".to_owned() + room.split_once(':').map_or("localhost", |(_, name)| name);
    knock(&bob, &nowhere).await.expect_error(404, "M_NOT_FOUND").unwrap();
}
