//! GET /_matrix/client/v3/rooms/{roomId}/messages

use serde_json::json;
use starling_conformance::client::path;

use crate::support;

#[tokio::test]
async fn a_page_without_a_direction_begins_at_the_beginning() {
    let alice = support::user("alice").await;
    let room = alice.create_public_room().await.unwrap();
    let target = path("/_matrix/client/v3/rooms/{}/messages?limit=1", &[&room]);
    let page = alice.api.get(&target).await.unwrap().ok().unwrap();
    assert_eq!(page["chunk"][0]["type"], "m.room.create", "{page}");
}

/// Also when the member event is in the page itself: clients look for it in one place.
#[tokio::test]
async fn lazily_loaded_members_are_those_of_all_senders() {
    let alice = support::user("alice").await;
    let room = alice.create_public_room().await.unwrap();
    let target = path(
        "/_matrix/client/v3/rooms/{}/messages?dir=b&limit=100&filter={}",
        &[&room, r#"{"lazy_load_members":true}"#],
    );
    let page = alice.api.get(&target).await.unwrap().ok().unwrap();
    let state = page["state"].as_array().unwrap();
    assert_eq!(state.len(), 1, "{page}");
    assert_eq!(state[0]["state_key"], alice.id.as_str());
}

#[tokio::test]
async fn a_page_is_filtered_by_how_events_relate() {
    let alice = support::user("alice").await;
    let bob = support::user("bob").await;
    let room = alice.create_public_room().await.unwrap();
    bob.join(&room, &[]).await.unwrap();
    let root = alice.say(&room, "root").await.unwrap();
    let relation = |kind: &str| {
        let relation = json!({ "rel_type": kind, "event_id": root });
        json!({ "msgtype": "m.text", "body": "x", "m.relates_to": relation })
    };
    let reply = bob.send(&room, "m.room.message", relation("m.thread")).await.unwrap();
    let reference = bob.send(&room, "m.room.message", relation("m.reference")).await.unwrap();
    for (filter, wanted) in [
        (json!({ "org.matrix.msc3874.rel_types": ["m.thread"] }), vec![&reply]),
        (json!({ "org.matrix.msc3874.not_rel_types": ["m.thread"] }), vec![&root, &reference]),
        (json!({ "related_by_rel_types": ["m.thread"] }), vec![&root]),
        (json!({ "related_by_rel_types": ["m.annotation"] }), vec![]),
        (json!({ "related_by_senders": [bob.id] }), vec![&root]),
        (json!({ "related_by_senders": [alice.id] }), vec![]),
        (
            json!({ "related_by_senders": [bob.id], "related_by_rel_types": ["m.reference"] }),
            vec![&root],
        ),
    ] {
        let mut filter = filter;
        filter["types"] = json!(["m.room.message"]);
        let target = path(
            "/_matrix/client/v3/rooms/{}/messages?dir=f&limit=100&filter={}",
            &[&room, &filter.to_string()],
        );
        let page = alice.api.get(&target).await.unwrap().ok().unwrap();
        let chunk = page["chunk"].as_array().unwrap();
        let found: Vec<_> = chunk.iter().map(|event| event["event_id"].as_str().unwrap()).collect();
        assert_eq!(found, wanted, "{filter}");
    }
    for filter in [r#"{"related_by_senders":["x"]}"#, r#"{"related_by_rel_types":"m.thread"}"#] {
        let template = "/_matrix/client/v3/rooms/{}/messages?dir=f&filter={}";
        let answer = alice.api.get(&path(template, &[&room, filter])).await.unwrap();
        assert_eq!(answer.status, 400, "{filter}");
    }
}
