//! PUT /_matrix/client/v3/rooms/{roomId}/state/{eventType}/{stateKey}

use serde_json::{Value, json};
use starling_conformance::{
    client::{Answer, User, path},
    random,
};

use crate::support;

async fn set(user: &User, room: &str, kind: &str, key: &str, content: Value) -> Answer {
    let target = path("/_matrix/client/v3/rooms/{}/state/{}/{}", &[room, kind, key]);
    user.api.put(&target, content).await.unwrap()
}

#[tokio::test]
async fn what_is_no_alias_is_an_invalid_parameter() {
    let alice = support::user("alice").await;
    let room = alice.create_public_room().await.unwrap();
    for content in
        [json!({ "alias": "%no:alias.example" }), json!({ "alt_aliases": ["%no:alias.example"] })]
    {
        let answer = set(&alice, &room, "m.room.canonical_alias", "", content).await;
        answer.expect_error(400, "M_INVALID_PARAM").unwrap();
    }
}

#[tokio::test]
async fn an_alias_must_point_to_the_room() {
    let alice = support::user("alice").await;
    let room = alice.create_public_room().await.unwrap();
    let server = support::server().await.name();
    let name = random::suffix().unwrap();
    let other = alice.create_room(json!({ "room_alias_name": name })).await.unwrap();
    let (taken, missing) = (format!("#{name}:{server}"), format!("#no-{name}:{server}"));
    for alias in [&taken, &missing] {
        for content in [json!({ "alias": alias }), json!({ "alt_aliases": [alias] })] {
            let answer = set(&alice, &room, "m.room.canonical_alias", "", content).await;
            answer.expect_error(400, "M_BAD_ALIAS").unwrap();
        }
    }
    let content = json!({ "alias": taken });
    set(&alice, &other, "m.room.canonical_alias", "", content).await.ok().unwrap();
}

#[tokio::test]
async fn state_is_set_by_who_may() {
    let (alice, bob) = (support::user("alice").await, support::user("bob").await);
    let room = alice.create_public_room().await.unwrap();
    let name = json!({ "name": "Bob was here" });
    let outside = set(&bob, &room, "m.room.name", "", name.clone()).await;
    outside.expect_error(403, "M_FORBIDDEN").unwrap();
    bob.join(&room, &[]).await.unwrap();
    let powerless = set(&bob, &room, "m.room.name", "", name).await;
    powerless.expect_error(403, "M_FORBIDDEN").unwrap();
    let hers = set(&bob, &room, "org.example", &alice.id, json!({})).await;
    hers.expect_error(403, "M_FORBIDDEN").unwrap();
}

#[tokio::test]
async fn a_room_is_created_once() {
    let alice = support::user("alice").await;
    let room = alice.create_public_room().await.unwrap();
    let answer = set(&alice, &room, "m.room.create", "", json!({})).await;
    answer.expect_error(400, "M_BAD_JSON").unwrap();
}

#[tokio::test]
async fn creators_have_no_place_in_the_power_levels() {
    let alice = support::user("alice").await;
    for (version, status) in [("11", 200), ("12", 400)] {
        let options = json!({ "preset": "public_chat", "room_version": version });
        let room = alice.create_room(options).await.unwrap();
        let levels = json!({ "users": { &alice.id: 100 } });
        let answer = set(&alice, &room, "m.room.power_levels", "", levels).await;
        assert_eq!(answer.status, status, "{version}: {answer:?}");
    }
}

/// It is for the server to say who lets a user in, and nobody has to once they are.
#[tokio::test]
async fn a_member_cannot_say_who_let_them_in() {
    let alice = support::user("alice").await;
    let room = alice.create_public_room().await.unwrap();
    let member = json!({ "membership": "join", "displayname": "A",
                         "join_authorised_via_users_server": "unused" });
    set(&alice, &room, "m.room.member", &alice.id, member).await.ok().unwrap();
    let now = alice.state(&room, "m.room.member", &alice.id).await.unwrap().ok().unwrap();
    assert_eq!(now, json!({ "membership": "join", "displayname": "A" }));
}

#[tokio::test]
async fn state_belongs_to_users_where_the_room_version_says_so() {
    let (alice, bob) = (support::user("alice").await, support::user("bob").await);
    for version in ["org.matrix.msc3757.10", "org.matrix.msc3757.11"] {
        let levels = json!({ "events": { "org.example": 0 } });
        let options = json!({ "preset": "public_chat", "room_version": version,
                              "power_level_content_override": levels });
        let room = alice.create_room(options).await.unwrap();
        bob.join(&room, &[]).await.unwrap();
        let key = |user: &User, suffix: &str| format!("{}{suffix}", user.id);
        for (user, key, status, errcode) in [
            (&bob, key(&bob, ""), 200, ""),
            (&bob, key(&bob, "_device:!@#"), 200, ""),
            (&alice, key(&bob, "_device:!@#"), 200, ""),
            (&bob, key(&alice, "_device"), 403, "M_FORBIDDEN"),
            (&bob, key(&alice, ""), 403, "M_FORBIDDEN"),
            (&alice, key(&alice, "@device"), 400, "M_BAD_JSON"),
            (&alice, "@oops".to_owned(), 400, "M_BAD_JSON"),
        ] {
            let answer = set(user, &room, "org.example", &key, json!({})).await;
            assert_eq!((answer.status, answer.errcode()), (status, errcode), "{key}");
        }
    }
}
