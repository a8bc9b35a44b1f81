//! GET /_matrix/client/v3/rooms/{roomId}/initialSync

use serde_json::json;
use starling_conformance::client::{Answer, User, path};

use crate::support;

async fn initial(user: &User, room: &str) -> Answer {
    user.api.get(&path("/_matrix/client/v3/rooms/{}/initialSync", &[room])).await.unwrap()
}

#[tokio::test]
async fn members_and_whoever_may_look_in_are_shown_the_room() {
    let alice = support::user("alice").await;
    let bob = support::user("bob").await;
    let visibility = json!({ "history_visibility": "world_readable" });
    let state = json!([{ "type": "m.room.history_visibility", "content": visibility }]);
    let body = json!({ "preset": "public_chat", "initial_state": state });
    let room = alice.create_room(body).await.unwrap();
    let said = alice.say(&room, "hello").await.unwrap();
    let tag = path("/_matrix/client/v3/user/{}/rooms/{}/tags/work", &[&alice.id, &room]);
    alice.api.put(&tag, json!({ "order": 1 })).await.unwrap().ok().unwrap();

    let seen = initial(&alice, &room).await.ok().unwrap();
    assert_eq!((&seen["room_id"], &seen["membership"]), (&json!(room), &json!("join")));
    assert_eq!(seen["messages"]["chunk"].as_array().unwrap().last().unwrap()["event_id"], said);
    assert_eq!(seen["account_data"][0]["type"], "m.tag");
    assert_eq!(seen["visibility"], "private");
    let seen = initial(&bob, &room).await.ok().unwrap();
    assert!(seen.get("membership").is_none() && seen["account_data"] == json!([]), "{seen}");
    assert!(!seen["state"].as_array().unwrap().is_empty());
    let end = seen["messages"]["end"].as_str().unwrap();
    let next = path("/_matrix/client/v3/events?room_id={}&from={}&timeout=0", &[&room, end]);
    assert_eq!(bob.api.get(&next).await.unwrap().ok().unwrap()["chunk"], json!([]));
}

#[tokio::test]
async fn others_are_refused() {
    let alice = support::user("alice").await;
    let bob = support::user("bob").await;
    let room = alice.create_public_room().await.unwrap();
    for room in [room.as_str(), "!nowhere:example.org"] {
        initial(&bob, room).await.expect_error(403, "M_FORBIDDEN").unwrap();
    }
    let target = path("/_matrix/client/v3/rooms/{}/initialSync", &[&room]);
    let answer = support::anonymous().await.get(&target).await.unwrap();
    answer.expect_error(401, "M_MISSING_TOKEN").unwrap();
}
