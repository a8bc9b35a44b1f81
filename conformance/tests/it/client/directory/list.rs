//! GET /_matrix/client/v3/directory/list/room/{roomId}
//! PUT /_matrix/client/v3/directory/list/room/{roomId}

use serde_json::json;
use starling_conformance::client::path;

use crate::support;

#[tokio::test]
async fn those_with_power_list_a_room_and_take_it_off() {
    let alice = support::user("alice").await;
    let bob = support::user("bob").await;
    let room = alice.create_public_room().await.unwrap();
    bob.join(&room, &[]).await.unwrap();
    let target = path("/_matrix/client/v3/directory/list/room/{}", &[&room]);
    let anybody = support::anonymous().await;
    for visibility in ["public", "private"] {
        let body = json!({ "visibility": visibility });
        let refused = bob.api.put(&target, body.clone()).await.unwrap();
        refused.expect_error(403, "M_FORBIDDEN").unwrap();
        alice.api.put(&target, body.clone()).await.unwrap().ok().unwrap();
        assert_eq!(anybody.get(&target).await.unwrap().ok().unwrap(), body);
    }
    let answer = alice.api.put(&target, json!({ "visibility": "secret" })).await.unwrap();
    answer.expect_error(400, "M_BAD_JSON").unwrap();
}

#[tokio::test]
async fn a_room_that_is_not_there_is_not_listed() {
    let alice = support::user("alice").await;
    let target = path("/_matrix/client/v3/directory/list/room/{}", &["!nowhere:example.org"]);
    let read = alice.api.get(&target).await.unwrap();
    read.expect_error(404, "M_NOT_FOUND").unwrap();
    let written = alice.api.put(&target, json!({ "visibility": "public" })).await.unwrap();
    written.expect_error(404, "M_NOT_FOUND").unwrap();
}
