//! POST /_matrix/client/v3/rooms/{roomId}/leave

use serde_json::json;
use starling_conformance::client::{Sync, User, path};

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

/// A server whose users forget the rooms that they leave.
#[tokio::test]
async fn rooms_are_forgotten_where_the_server_says_so() {
    let mut spec = support::spec();
    spec.settings.push(("ROOMS__FORGET_UPON_LEAVE".to_owned(), "true".to_owned()));
    let server = support::start(spec).await;
    let alice = User::register(&server, "alice").await.unwrap();
    let bob = User::register(&server, "bob").await.unwrap();
    let capabilities = bob.api.get("/_matrix/client/v3/capabilities").await.unwrap().ok().unwrap();
    let capability = &capabilities["capabilities"]["m.forget_forced_upon_leave"];
    assert_eq!(*capability, json!({ "enabled": true }));
    let filter = path("?filter={}", &[r#"{"room":{"include_leave":true}}"#]);
    for way_out in ["leave", "kick", "ban"] {
        let room = alice.create_public_room().await.unwrap();
        bob.join(&room, &[]).await.unwrap();
        let mut sync = Sync::start(&bob).await.unwrap();
        match way_out {
            "leave" => bob.leave(&room).await.unwrap(),
            "kick" => alice.kick(&room, &bob.id).await.unwrap(),
            _ => alice.ban(&room, &bob.id).await.unwrap(),
        }
        sync.section("leave", &room).await.unwrap();
        let state = path("/_matrix/client/v3/rooms/{}/state", &[&room]);
        bob.api.get(&state).await.unwrap().expect_error(403, "M_FORBIDDEN").unwrap();
        let first = bob.api.get(&format!("/_matrix/client/v3/sync{filter}")).await.unwrap();
        assert_eq!(first.ok().unwrap()["rooms"].get("leave"), None, "{way_out}");
        if way_out != "ban" {
            bob.join(&room, &[]).await.unwrap();
            bob.api.get(&state).await.unwrap().ok().unwrap();
        }
    }
}

#[tokio::test]
async fn rooms_are_not_forgotten_where_the_server_does_not_say_so() {
    let alice = support::user("alice").await;
    let room = alice.create_public_room().await.unwrap();
    alice.leave(&room).await.unwrap();
    let capabilities = alice.api.get("/_matrix/client/v3/capabilities").await.unwrap();
    let capability = &capabilities.ok().unwrap()["capabilities"]["m.forget_forced_upon_leave"];
    assert_eq!(*capability, json!({ "enabled": false }));
    let state = path("/_matrix/client/v3/rooms/{}/state", &[&room]);
    alice.api.get(&state).await.unwrap().ok().unwrap();
}
