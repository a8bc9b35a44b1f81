//! GET /_matrix/client/v3/profile/{userId}
//! GET /_matrix/client/v3/profile/{userId}/{keyName}
//! PUT /_matrix/client/v3/profile/{userId}/{keyName}
//! DELETE /_matrix/client/v3/profile/{userId}/{keyName}

use http::Method;
use serde_json::{Value, json};
use starling_conformance::client::{Api, Sync, User, path};

use crate::support;

fn field(user: &User, name: &str) -> String {
    path("/_matrix/client/v3/profile/{}/{}", &[&user.id, name])
}

async fn set(user: &User, name: &str, value: &str) {
    let body = json!({ (name): value });
    user.api.put(&field(user, name), body).await.unwrap().ok().unwrap();
}

#[tokio::test]
async fn a_field_is_set_read_and_removed() {
    let alice = support::user("alice").await;
    let api = support::anonymous().await;
    set(&alice, "org.example.colour", "green").await;
    let read = api.get(&field(&alice, "org.example.colour")).await.unwrap().ok().unwrap();
    assert_eq!(read, json!({ "org.example.colour": "green" }));
    alice.api.delete(&field(&alice, "org.example.colour")).await.unwrap().ok().unwrap();
    let gone = api.get(&field(&alice, "org.example.colour")).await.unwrap();
    gone.expect_error(404, "M_NOT_FOUND").unwrap();
}

#[tokio::test]
async fn rooms_learn_of_a_new_name() {
    let alice = support::user("alice").await;
    let bob = support::user("bob").await;
    let room = alice.create_public_room().await.unwrap();
    bob.join(&room, &[]).await.unwrap();
    let mut sync = Sync::start(&bob).await.unwrap();
    set(&alice, "displayname", "Alice the Great").await;
    let renamed = |event: &Value| {
        event["state_key"] == alice.id.as_str()
            && event["content"]["displayname"] == "Alice the Great"
    };
    let event = sync.event(&room, "a new name", renamed).await.unwrap();
    assert_eq!(event["content"]["membership"], "join");
}

#[tokio::test]
async fn the_profile_is_seen_from_another_server() {
    let (here, there) = support::pair().await;
    let alice = User::register(here, "alice").await.unwrap();
    set(&alice, "displayname", "Alice").await;
    let profile = path("/_matrix/client/v3/profile/{}", &[&alice.id]);
    let seen = Api::new(there).unwrap().get(&profile).await.unwrap().ok().unwrap();
    assert_eq!(seen["displayname"], "Alice");
    let nobody = alice.id.replace("@alice", "@nobody");
    let profile = path("/_matrix/client/v3/profile/{}", &[&nobody]);
    let answer = Api::new(there).unwrap().get(&profile).await.unwrap();
    answer.expect_error(404, "M_NOT_FOUND").unwrap();
}

#[tokio::test]
async fn nobody_changes_the_profile_of_another() {
    let alice = support::user("alice").await;
    let bob = support::user("bob").await;
    let body = json!({ "displayname": "Mallory" });
    let answer = bob.api.put(&field(&alice, "displayname"), body).await.unwrap();
    answer.expect_error(403, "M_FORBIDDEN").unwrap();
    let answer = bob.api.delete(&field(&alice, "displayname")).await.unwrap();
    answer.expect_error(403, "M_FORBIDDEN").unwrap();
}

#[tokio::test]
async fn a_field_has_its_form_and_its_size() {
    let alice = support::user("alice").await;
    let long = "a".repeat(256);
    for (name, body, errcode) in [
        ("displayname", json!({ "avatar_url": "x" }), "M_MISSING_PARAM"),
        ("displayname", json!({ "displayname": 5 }), "M_BAD_JSON"),
        ("No", json!({ "No": 5 }), "M_INVALID_PARAM"),
        (&long, json!({ (&long): 5 }), "M_KEY_TOO_LARGE"),
        ("org.big", json!({ "org.big": "x".repeat(65_536) }), "M_PROFILE_TOO_LARGE"),
    ] {
        let answer = alice.api.put(&field(&alice, name), body).await.unwrap();
        answer.expect_error(400, errcode).unwrap();
    }
    let answer = alice.api.delete(&field(&alice, "No")).await.unwrap();
    answer.expect_error(400, "M_INVALID_PARAM").unwrap();
}

#[tokio::test]
async fn a_removal_that_is_no_request_removes_nothing() {
    let alice = support::user("alice").await;
    set(&alice, "displayname", "Alice").await;
    let path = field(&alice, "displayname");
    for (body, errcode) in [("[]", "M_BAD_JSON"), ("{", "M_NOT_JSON")] {
        let answer = alice.api.raw(Method::DELETE, &path, "application/json", body).await.unwrap();
        answer.expect_error(400, errcode).unwrap();
    }
    let read = alice.api.get(&path).await.unwrap().ok().unwrap();
    assert_eq!(read, json!({ "displayname": "Alice" }));
}

#[tokio::test]
async fn profiles_are_shown_to_whom_the_settings_say() {
    let server = support::server_with(&[("PROFILES__VISIBLE_TO", "sharing")]).await;
    let alice = User::register(&server, "alice").await.unwrap();
    let bob = User::register(&server, "bob").await.unwrap();
    set(&alice, "displayname", "Alice").await;
    let nobody = alice.id.replace("@alice", "@nobody");
    let whole = |user: &str| path("/_matrix/client/v3/profile/{}", &[user]);
    for target in [whole(&alice.id), whole(&nobody), field(&alice, "displayname")] {
        let answer = bob.api.get(&target).await.unwrap();
        answer.expect_error(403, "M_FORBIDDEN").unwrap();
        let answer = Api::new(&server).unwrap().get(&target).await.unwrap();
        answer.expect_error(401, "M_MISSING_TOKEN").unwrap();
    }
    alice.api.get(&whole(&alice.id)).await.unwrap().ok().unwrap();
    let room = alice.create_public_room().await.unwrap();
    bob.join(&room, &[]).await.unwrap();
    let seen = bob.api.get(&whole(&alice.id)).await.unwrap().ok().unwrap();
    assert_eq!(seen["displayname"], "Alice");

    let server = support::server_with(&[("PROFILES__VISIBLE_TO", "users")]).await;
    let alice = User::register(&server, "alice").await.unwrap();
    let bob = User::register(&server, "bob").await.unwrap();
    bob.api.get(&whole(&alice.id)).await.unwrap().ok().unwrap();
    let answer = Api::new(&server).unwrap().get(&whole(&alice.id)).await.unwrap();
    answer.expect_error(401, "M_MISSING_TOKEN").unwrap();
}
