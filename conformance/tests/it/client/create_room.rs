//! POST /_matrix/client/v3/createRoom

use http::Method;
use serde_json::json;
use starling_conformance::{client::text, random};

use crate::support;

const CREATE: &str = "/_matrix/client/v3/createRoom";

#[tokio::test]
async fn what_cannot_be_a_room_is_refused() {
    let alice = support::user("alice").await;
    let alias = format!("hall-{}", random::suffix().unwrap());
    let named = json!({ "room_alias_name": alias });
    alice.api.post(CREATE, named.clone()).await.unwrap().ok().unwrap();
    let creators = json!({ "users": { &alice.id: 100 } });
    for (body, errcode) in [
        (named, "M_ROOM_IN_USE"),
        (json!({ "room_version": "none" }), "M_UNSUPPORTED_ROOM_VERSION"),
        (json!({ "preset": "nice_chat" }), "M_BAD_JSON"),
        (json!({ "invite": ["bob"] }), "M_INVALID_PARAM"),
        (
            json!({ "room_version": "12", "power_level_content_override": creators }),
            "M_INVALID_ROOM_STATE",
        ),
    ] {
        let answer = alice.api.post(CREATE, body).await.unwrap();
        answer.expect_error(400, errcode).unwrap();
    }
    let cut = alice.api.raw(Method::POST, CREATE, "application/json", "{").await.unwrap();
    cut.expect_error(400, "M_NOT_JSON").unwrap();
}

#[tokio::test]
async fn a_room_is_as_it_was_ordered() {
    let alice = support::user("alice").await;
    let bob = support::user("bob").await;
    let answer = alice.api.post(
        CREATE,
        json!({
            "name": "Kitchen",
            "topic": "Who cooks?",
            "invite": [&bob.id],
            "creation_content": { "m.federate": false },
            "initial_state": [{ "type": "org.example.colour", "content": { "wall": "green" } }],
        }),
    );
    let answer = answer.await.unwrap().ok().unwrap();
    let room = text(&answer, "/room_id").unwrap();
    for (kind, key, pointer, value) in [
        ("m.room.name", "", "/name", json!("Kitchen")),
        ("m.room.topic", "", "/topic", json!("Who cooks?")),
        ("m.room.create", "", "/m.federate", json!(false)),
        ("m.room.join_rules", "", "/join_rule", json!("invite")),
        ("m.room.member", &bob.id, "/membership", json!("invite")),
        ("org.example.colour", "", "/wall", json!("green")),
    ] {
        let content = alice.state(room, kind, key).await.unwrap().ok().unwrap();
        assert_eq!(content.pointer(pointer), Some(&value), "{kind}: {content}");
    }
    bob.join(room, &[]).await.unwrap();
}
