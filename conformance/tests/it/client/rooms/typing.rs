//! PUT /_matrix/client/v3/rooms/{roomId}/typing/{userId}

use serde_json::json;
use starling_conformance::client::{Sync, path};

use crate::support;

#[tokio::test]
async fn members_see_who_types_and_who_stopped() {
    let alice = support::user("alice").await;
    let bob = support::user("bob").await;
    let room = alice.create_public_room().await.unwrap();
    let target = path("/_matrix/client/v3/rooms/{}/typing/{}", &[&room, &bob.id]);
    let types = json!({ "typing": true, "timeout": 30_000 });
    let outside = bob.api.put(&target, types.clone()).await.unwrap();
    outside.expect_error(403, "M_FORBIDDEN").unwrap();
    bob.join(&room, &[]).await.unwrap();
    let mut sync = Sync::start(&alice).await.unwrap();
    for (body, expected) in [(types, json!([&bob.id])), (json!({ "typing": false }), json!([]))] {
        bob.api.put(&target, body).await.unwrap().ok().unwrap();
        sync.ephemeral(&room, "m.typing", |content| content["user_ids"] == expected).await.unwrap();
    }
    let for_another = path("/_matrix/client/v3/rooms/{}/typing/{}", &[&room, &alice.id]);
    let answer = bob.api.put(&for_another, json!({ "typing": true })).await.unwrap();
    answer.expect_error(403, "M_FORBIDDEN").unwrap();
}
