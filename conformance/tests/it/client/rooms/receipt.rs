//! POST /_matrix/client/v3/rooms/{roomId}/receipt/{receiptType}/{eventId}
//! POST /_matrix/client/v3/rooms/{roomId}/read_markers

use serde_json::{Value, json};
use starling_conformance::client::{Answer, Sync, User, path};

use crate::support;

async fn receipt(user: &User, room: &str, kind: &str, event: &str, body: Value) -> Answer {
    let template = "/_matrix/client/v3/rooms/{}/receipt/{}/{}";
    user.api.post(&path(template, &[room, kind, event]), body).await.unwrap()
}

#[tokio::test]
async fn a_receipt_has_a_known_kind_and_a_thread_that_is_a_text() {
    let alice = support::user("alice").await;
    let room = alice.create_public_room().await.unwrap();
    let event = alice.say(&room, "hello").await.unwrap();
    for (kind, body) in [
        ("m.seen", json!({})),
        ("m.read", json!({ "thread_id": 5 })),
        ("m.read", json!({ "thread_id": "" })),
        ("m.fully_read", json!({ "thread_id": "main" })),
    ] {
        let answer = receipt(&alice, &room, kind, &event, body).await;
        answer.expect_error(400, "M_INVALID_PARAM").unwrap();
    }
    for kind in ["m.read", "m.read.private", "m.fully_read"] {
        receipt(&alice, &room, kind, &event, json!({})).await.ok().unwrap();
    }
}

#[tokio::test]
async fn markers_are_moved_together() {
    let alice = support::user("alice").await;
    let bob = support::user("bob").await;
    let room = alice.create_public_room().await.unwrap();
    bob.join(&room, &[]).await.unwrap();
    let event = alice.say(&room, "hello").await.unwrap();
    let mut sync = Sync::start(&alice).await.unwrap();
    let target = path("/_matrix/client/v3/rooms/{}/read_markers", &[&room]);
    let body = json!({ "m.fully_read": event, "m.read": event });
    bob.api.post(&target, body).await.unwrap().ok().unwrap();
    sync.ephemeral(&room, "m.receipt", |content| content[&event]["m.read"].get(&bob.id).is_some())
        .await
        .unwrap();
    let marker =
        path("/_matrix/client/v3/user/{}/rooms/{}/account_data/m.fully_read", &[&bob.id, &room]);
    let marker = bob.api.get(&marker).await.unwrap().ok().unwrap();
    assert_eq!(marker, json!({ "event_id": event }));
}
