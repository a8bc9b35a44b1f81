//! GET /_matrix/client/v3/rooms/{roomId}/aliases

use serde_json::json;
use starling_conformance::{client::path, random};

use crate::support;

#[tokio::test]
async fn members_see_what_a_room_is_called() {
    let alice = support::user("alice").await;
    let bob = support::user("bob").await;
    let name = format!("hall-{}", random::suffix().unwrap());
    let room = alice.create_room(json!({ "room_alias_name": name })).await.unwrap();
    let target = path("/_matrix/client/v3/rooms/{}/aliases", &[&room]);
    let found = alice.api.get(&target).await.unwrap().ok().unwrap();
    let (_, server) = alice.id.split_once(':').unwrap();
    assert_eq!(found, json!({ "aliases": [format!("#{name}:{server}")] }));
    bob.api.get(&target).await.unwrap().expect_error(403, "M_FORBIDDEN").unwrap();
    let malformed = alice.api.get("/_matrix/client/v3/rooms/hall/aliases").await.unwrap();
    malformed.expect_error(400, "M_INVALID_PARAM").unwrap();
}
