//! Who is not in a room reads nothing of it:
//!
//! GET /_matrix/client/v3/rooms/{roomId}/messages
//! GET /_matrix/client/v3/rooms/{roomId}/members
//! GET /_matrix/client/v3/rooms/{roomId}/joined_members
//! GET /_matrix/client/v3/rooms/{roomId}/state
//! GET /_matrix/client/v3/rooms/{roomId}/state/{eventType}/{stateKey}

use serde_json::json;
use starling_conformance::client::path;

use crate::support;

const READING: [&str; 5] =
    ["messages?dir=b", "members", "joined_members", "state", "state/m.room.name/"];

#[tokio::test]
async fn a_private_room_is_read_by_its_members() {
    let alice = support::user("alice").await;
    let bob = support::user("bob").await;
    let room = alice.create_room(json!({ "name": "Kitchen" })).await.unwrap();
    for what in READING {
        let target = path("/_matrix/client/v3/rooms/{}/", &[&room]) + what;
        alice.api.get(&target).await.unwrap().ok().unwrap();
        bob.api.get(&target).await.unwrap().expect_error(403, "M_FORBIDDEN").unwrap();
    }
    let nothing = alice.state(&room, "org.example.nothing", "").await.unwrap();
    nothing.expect_error(404, "M_NOT_FOUND").unwrap();
}
