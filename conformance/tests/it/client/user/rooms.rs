//! GET /_matrix/client/v3/user/{userId}/rooms/{roomId}/account_data/{type}
//! PUT /_matrix/client/v3/user/{userId}/rooms/{roomId}/account_data/{type}
//! DELETE /_matrix/client/unstable/org.matrix.msc3391/user/{userId}/rooms/{roomId}/account_data/{type}
//! GET /_matrix/client/v3/user/{userId}/rooms/{roomId}/tags
//! PUT /_matrix/client/v3/user/{userId}/rooms/{roomId}/tags/{tag}
//! DELETE /_matrix/client/v3/user/{userId}/rooms/{roomId}/tags/{tag}

use http::Method;
use serde_json::{Value, json};
use starling_conformance::client::{Sync, path};

use crate::support;

#[tokio::test]
async fn tags_are_account_data_of_the_room() {
    let alice = support::user("alice").await;
    let room = alice.create_public_room().await.unwrap();
    let mut sync = Sync::start(&alice).await.unwrap();
    let tags = path("/_matrix/client/v3/user/{}/rooms/{}/tags", &[&alice.id, &room]);
    let tag = format!("{tags}/m.favourite");
    alice.api.put(&tag, json!({ "order": 0.5 })).await.unwrap().ok().unwrap();
    let found = alice.api.get(&tags).await.unwrap().ok().unwrap();
    assert_eq!(found, json!({ "tags": { "m.favourite": { "order": 0.5 } } }));
    let wanted = json!({ "type": "m.tag", "content": found });
    let has_it = |answer: &Value| {
        let events = answer["rooms"]["join"][&room]["account_data"]["events"].as_array();
        events.is_some_and(|events| events.contains(&wanted))
    };
    sync.until("the tag", has_it).await.unwrap();
    alice.api.delete(&tag).await.unwrap().ok().unwrap();
    let found = alice.api.get(&tags).await.unwrap().ok().unwrap();
    assert_eq!(found, json!({ "tags": {} }));
}

#[tokio::test]
async fn each_room_has_its_own_account_data() {
    let alice = support::user("alice").await;
    let rooms =
        [alice.create_public_room().await.unwrap(), alice.create_public_room().await.unwrap()];
    let data = |room: &str| {
        let template = "/_matrix/client/v3/user/{}/rooms/{}/account_data/{}";
        path(template, &[&alice.id, room, "org.example.colour"])
    };
    let content = json!({ "colour": "green" });
    alice.api.put(&data(&rooms[0]), content.clone()).await.unwrap().ok().unwrap();
    assert_eq!(alice.api.get(&data(&rooms[0])).await.unwrap().ok().unwrap(), content);
    let other = alice.api.get(&data(&rooms[1])).await.unwrap();
    other.expect_error(404, "M_NOT_FOUND").unwrap();
}

#[tokio::test]
async fn account_data_of_a_room_are_checked_as_others_are() {
    let (alice, bob) = (support::user("alice").await, support::user("bob").await);
    let room = alice.create_public_room().await.unwrap();
    let data = |room: &str, kind: &str| {
        path("/_matrix/client/v3/user/{}/rooms/{}/account_data/{}", &[&alice.id, room, kind])
    };
    let kind = "org.example.colour";
    for (body, errcode) in [("{", "M_NOT_JSON"), ("[]", "M_BAD_JSON"), ("5", "M_BAD_JSON")] {
        let target = data(&room, kind);
        let answer = alice.api.raw(Method::PUT, &target, "application/json", body).await.unwrap();
        answer.expect_error(400, errcode).unwrap();
    }
    for no_room in ["nowhere", "@alice:example.org", "#alias:example.org"] {
        let target = data(no_room, kind);
        for answer in [alice.api.put(&target, json!({})).await, alice.api.get(&target).await] {
            answer.unwrap().expect_error(400, "M_INVALID_PARAM").unwrap();
        }
    }
    let target = data(&room, kind);
    for answer in [bob.api.put(&target, json!({})).await, bob.api.get(&target).await] {
        answer.unwrap().expect_error(403, "M_FORBIDDEN").unwrap();
    }
    for of_the_server in ["m.fully_read", "m.push_rules"] {
        let answer = alice.api.put(&data(&room, of_the_server), json!({})).await.unwrap();
        answer.expect_error(405, "M_BAD_JSON").unwrap();
    }
}

#[tokio::test]
async fn account_data_of_a_room_are_removed() {
    let alice = support::user("alice").await;
    let room = alice.create_public_room().await.unwrap();
    let template = "/_matrix/client/v3/user/{}/rooms/{}/account_data/{}";
    let data = path(template, &[&alice.id, &room, "org.example.colour"]);
    let removal = data.replace("/v3/", "/unstable/org.matrix.msc3391/");
    alice.api.put(&data, json!({ "colour": "green" })).await.unwrap().ok().unwrap();
    let mut sync = Sync::start(&alice).await.unwrap();
    alice.api.delete(&removal).await.unwrap().ok().unwrap();
    let wanted = json!({ "type": "org.example.colour", "content": {} });
    let events = |answer: &Value| {
        let events = answer["rooms"]["join"][&room]["account_data"]["events"].as_array();
        events.cloned().unwrap_or_default()
    };
    sync.until("the removal", |answer| events(answer).contains(&wanted)).await.unwrap();
    alice.api.get(&data).await.unwrap().expect_error(404, "M_NOT_FOUND").unwrap();
    let first = alice.api.get("/_matrix/client/v3/sync").await.unwrap().ok().unwrap();
    assert!(events(&first).is_empty());
    let bob = support::user("bob").await;
    bob.api.delete(&removal).await.unwrap().expect_error(403, "M_FORBIDDEN").unwrap();
}
