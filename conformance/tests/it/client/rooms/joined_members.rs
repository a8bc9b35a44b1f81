//! GET /_matrix/client/v3/rooms/{roomId}/joined_members

use serde_json::json;
use starling_conformance::client::path;

use crate::support;

#[tokio::test]
async fn who_has_no_name_is_listed_with_null() {
    let alice = support::user("alice").await;
    let room = alice.create_public_room().await.unwrap();
    let target = path("/_matrix/client/v3/rooms/{}/joined_members", &[&room]);
    let body = alice.api.get(&target).await.unwrap().ok().unwrap();
    let nameless = json!({ &alice.id: { "display_name": null, "avatar_url": null } });
    assert_eq!(body["joined"], nameless);
}

#[tokio::test]
async fn who_is_outside_is_told_nothing() {
    let (alice, bob) = (support::user("alice").await, support::user("bob").await);
    let room = alice.create_public_room().await.unwrap();
    let target = path("/_matrix/client/v3/rooms/{}/joined_members", &[&room]);
    bob.api.get(&target).await.unwrap().expect_error(403, "M_FORBIDDEN").unwrap();
}
