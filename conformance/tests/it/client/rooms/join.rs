//! POST /_matrix/client/v3/rooms/{roomId}/join

use serde_json::json;
use starling_conformance::client::path;

use crate::support;

#[tokio::test]
async fn one_joins_by_id_what_is_open_or_to_which_one_is_invited() {
    let alice = support::user("alice").await;
    let bob = support::user("bob").await;
    let open = alice.create_public_room().await.unwrap();
    let closed = alice.create_room(json!({ "preset": "private_chat" })).await.unwrap();
    let join = async |room: &str| {
        let target = path("/_matrix/client/v3/rooms/{}/join", &[room]);
        bob.api.post(&target, json!({ "reason": "hello" })).await.unwrap()
    };
    assert_eq!(join(&open).await.ok().unwrap(), json!({ "room_id": open }));
    let member = alice.state(&open, "m.room.member", &bob.id).await.unwrap().ok().unwrap();
    assert_eq!(member["reason"], "hello");
    join(&closed).await.expect_error(403, "M_FORBIDDEN").unwrap();
    bob.try_join(&closed, &[]).await.unwrap().expect_error(403, "M_FORBIDDEN").unwrap();
    alice.invite(&closed, &bob.id).await.unwrap();
    join(&closed).await.ok().unwrap();
}
