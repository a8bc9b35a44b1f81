//! POST /_matrix/client/v3/rooms/{roomId}/leave

use starling_conformance::client::Sync;

use crate::support;

#[tokio::test]
async fn an_invite_to_a_room_that_everybody_left_can_be_refused() {
    let (alice, bob) = (support::user("alice").await, support::user("bob").await);
    let room = alice.create_public_room().await.unwrap();
    alice.invite(&room, &bob.id).await.unwrap();
    let mut sync = Sync::start(&bob).await.unwrap();
    alice.leave(&room).await.unwrap();
    bob.leave(&room).await.unwrap();
    let left = sync.section("leave", &room).await.unwrap();
    let last = left["timeline"]["events"].as_array().unwrap().last().unwrap();
    assert_eq!(last["state_key"], bob.id.as_str(), "{left}");
    assert_eq!(last["content"]["membership"], "leave", "{left}");
}
