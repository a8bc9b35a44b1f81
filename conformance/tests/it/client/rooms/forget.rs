//! POST /_matrix/client/v3/rooms/{roomId}/forget

use serde_json::json;
use starling_conformance::client::path;

use crate::support;

#[tokio::test]
async fn a_room_is_forgotten_once_it_is_left() {
    let alice = support::user("alice").await;
    let room = alice.create_public_room().await.unwrap();
    let forget = path("/_matrix/client/v3/rooms/{}/forget", &[&room]);
    let early = alice.api.post(&forget, json!({})).await.unwrap();
    early.expect_error(400, "M_UNKNOWN").unwrap();
    alice.leave(&room).await.unwrap();
    let messages = path("/_matrix/client/v3/rooms/{}/messages?dir=b", &[&room]);
    alice.api.get(&messages).await.unwrap().ok().unwrap();
    alice.api.post(&forget, json!({})).await.unwrap().ok().unwrap();
    let forgotten = alice.api.get(&messages).await.unwrap();
    forgotten.expect_error(403, "M_FORBIDDEN").unwrap();
}
