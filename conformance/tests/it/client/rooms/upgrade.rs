//! POST /_matrix/client/v3/rooms/{roomId}/upgrade

use serde_json::{Value, json};
use starling_conformance::client::{Answer, Sync, User, path};

use crate::{scene::Scene, support};

async fn upgrade(user: &User, room: &str, body: Value) -> Answer {
    user.api.post(&path("/_matrix/client/v3/rooms/{}/upgrade", &[room]), body).await.unwrap()
}

async fn upgraded(user: &User, room: &str, body: Value) -> String {
    let answer = upgrade(user, room, body).await.ok().unwrap();
    answer["replacement_room"].as_str().unwrap().to_owned()
}

async fn content(user: &User, room: &str, kind: &str) -> Value {
    user.state(room, kind, "").await.unwrap().ok().unwrap()
}

#[tokio::test]
async fn a_room_is_replaced_and_each_names_the_other() {
    let alice = support::user("alice").await;
    let options = json!({
        "preset": "public_chat", "room_version": "11", "name": "The hall",
        "creation_content": { "type": "org.example.hall" },
    });
    let old = alice.create_room(options).await.unwrap();
    let new = upgraded(&alice, &old, json!({ "new_version": "12" })).await;
    let create = content(&alice, &new, "m.room.create").await;
    assert_eq!(create["predecessor"]["room_id"], old.as_str());
    assert_eq!(create["type"], "org.example.hall");
    assert_eq!(content(&alice, &new, "m.room.name").await["name"], "The hall");
    let tombstone = content(&alice, &old, "m.room.tombstone").await;
    assert_eq!(tombstone["replacement_room"], new.as_str());
    let levels = content(&alice, &old, "m.room.power_levels").await;
    assert_eq!((&levels["events_default"], &levels["invite"]), (&json!(50), &json!(50)));
    alice.say(&new, "we go on").await.unwrap();
}

#[tokio::test]
async fn the_aliases_and_the_listing_move() {
    let alice = support::user("alice").await;
    let name = alice.id.trim_start_matches('@').split(':').next().unwrap().to_owned();
    let options = json!({
        "preset": "public_chat", "room_version": "10", "visibility": "public",
        "room_alias_name": name,
    });
    let old = alice.create_room(options).await.unwrap();
    let alias = content(&alice, &old, "m.room.canonical_alias").await["alias"].clone();
    let new = upgraded(&alice, &old, json!({ "new_version": "11" })).await;
    let directory = path("/_matrix/client/v3/directory/room/{}", &[alias.as_str().unwrap()]);
    let named = alice.api.get(&directory).await.unwrap().ok().unwrap();
    assert_eq!(named["room_id"], new.as_str());
    assert_eq!(content(&alice, &new, "m.room.canonical_alias").await["alias"], alias);
    assert_eq!(content(&alice, &old, "m.room.canonical_alias").await.get("alias"), None);
    for (room, visibility) in [(&old, "private"), (&new, "public")] {
        let listing = path("/_matrix/client/v3/directory/list/room/{}", &[room]);
        let listing = alice.api.get(&listing).await.unwrap().ok().unwrap();
        assert_eq!(listing["visibility"], visibility);
    }
}

#[tokio::test]
async fn bans_stay_and_creators_are_named() {
    let alice = support::user("alice").await;
    let (bob, mallory) = (support::user("bob").await, support::user("mallory").await);
    let old = alice.create_room(json!({ "preset": "public_chat" })).await.unwrap();
    alice.ban(&old, &mallory.id).await.unwrap();
    let body = json!({ "new_version": "12", "additional_creators": [bob.id, bob.id, alice.id] });
    let new = upgraded(&alice, &old, body).await;
    let create = content(&alice, &new, "m.room.create").await;
    assert_eq!(create["additional_creators"], json!([bob.id]));
    mallory.try_join(&new, &[]).await.unwrap().expect_error(403, "M_FORBIDDEN").unwrap();
    bob.join(&new, &[]).await.unwrap();
    let newest = upgraded(&bob, &new, json!({ "new_version": "11" })).await;
    let levels = content(&bob, &newest, "m.room.power_levels").await;
    assert_eq!(levels["users"], json!({ (&*alice.id): 150, (&*bob.id): 150 }));
}

#[tokio::test]
async fn settings_follow_who_joins() {
    let (alice, bob) = (support::user("alice").await, support::user("bob").await);
    let old = alice.create_room(json!({ "preset": "public_chat" })).await.unwrap();
    bob.join(&old, &[]).await.unwrap();
    let tags = |room: &str| path("/_matrix/client/v3/user/{}/rooms/{}/tags", &[&bob.id, room]);
    let tag = format!("{}/m.favourite", tags(&old));
    bob.api.put(&tag, json!({ "order": 0.5 })).await.unwrap().ok().unwrap();
    let rule = |room: &str| path("/_matrix/client/v3/pushrules/global/room/{}", &[room]);
    bob.api.put(&rule(&old), json!({ "actions": [] })).await.unwrap().ok().unwrap();
    let new = upgraded(&alice, &old, json!({ "new_version": "12" })).await;
    let missing = bob.api.get(&rule(&new)).await.unwrap();
    missing.expect_error(404, "M_NOT_FOUND").unwrap();
    let mut sync = Sync::start(&bob).await.unwrap();
    bob.join(&new, &[]).await.unwrap();
    bob.api.get(&rule(&new)).await.unwrap().ok().unwrap();
    let found = bob.api.get(&tags(&new)).await.unwrap().ok().unwrap();
    assert_eq!(found["tags"], json!({ "m.favourite": { "order": 0.5 } }));
    let told = |answer: &Value| {
        let events = answer["account_data"]["events"].as_array();
        events.is_some_and(|events| events.iter().any(|event| event["type"] == "m.push_rules"))
    };
    sync.until("the push rules", told).await.unwrap();
}

#[tokio::test]
async fn settings_follow_into_a_room_that_was_made_by_hand() {
    let scene = Scene::set_by_peer("11").await;
    let old = scene.room.id.clone();
    let data = |room: &str| {
        let template = "/_matrix/client/v3/user/{}/rooms/{}/account_data/org.example";
        path(template, &[&scene.alice.id, room])
    };
    let alice = &scene.alice;
    alice.api.put(&data(&old), json!({ "a": 1 })).await.unwrap().ok().unwrap();
    let options = json!({
        "creation_content": { "predecessor": { "room_id": old, "event_id": "$x" } },
    });
    let new = alice.create_room(options).await.unwrap();
    assert_eq!(alice.api.get(&data(&new)).await.unwrap().ok().unwrap(), json!({ "a": 1 }));
}

#[tokio::test]
async fn refusals() {
    let (alice, bob) = (support::user("alice").await, support::user("bob").await);
    let room = alice.create_public_room().await.unwrap();
    let to = |version: &str| json!({ "new_version": version });
    let forbidden = |answer: Answer| answer.expect_error(403, "M_FORBIDDEN").unwrap();
    forbidden(upgrade(&bob, &room, to("12")).await);
    forbidden(upgrade(&alice, "!nowhere:example.org", to("12")).await);
    bob.join(&room, &[]).await.unwrap();
    forbidden(upgrade(&bob, &room, to("12")).await);
    for (body, errcode) in [
        (to("none"), "M_UNSUPPORTED_ROOM_VERSION"),
        (to(""), "M_UNSUPPORTED_ROOM_VERSION"),
        (json!({}), "M_MISSING_PARAM"),
        (json!({ "new_version": 12 }), "M_BAD_JSON"),
        (json!({ "new_version": "12", "additional_creators": ["bob"] }), "M_INVALID_PARAM"),
        (json!({ "new_version": "12", "additional_creators": "@b:x" }), "M_BAD_JSON"),
    ] {
        upgrade(&alice, &room, body).await.expect_error(400, errcode).unwrap();
    }
    assert_eq!(alice.state(&room, "m.room.tombstone", "").await.unwrap().status, 404);
    let anonymous = support::anonymous().await;
    let target = path("/_matrix/client/v3/rooms/{}/upgrade", &[&room]);
    let answer = anonymous.post(&target, to("12")).await.unwrap();
    answer.expect_error(401, "M_MISSING_TOKEN").unwrap();
}
