//! GET /_matrix/client/v3/rooms/{roomId}/messages

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
