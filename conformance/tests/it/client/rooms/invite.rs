//! POST /_matrix/client/v3/rooms/{roomId}/invite, and who takes invites

use http::Method;
use serde_json::{Value, json};
use starling_conformance::{
    client::{Answer, User, path},
    evil::Reply,
};

use crate::{scene::Scene, support};

const LISTS: &str = "org.matrix.msc4155.invite_permission_config";

async fn set(user: &User, kind: &str, content: Value) {
    let data = path("/_matrix/client/v3/user/{}/account_data/{}", &[&user.id, kind]);
    user.api.put(&data, content).await.unwrap().ok().unwrap();
}

async fn invite(user: &User, room: &str, body: Value) -> Answer {
    user.api.post(&path("/_matrix/client/v3/rooms/{}/invite", &[room]), body).await.unwrap()
}

/// The rooms that a client which begins now is shown as invites.
async fn invites(user: &User) -> Vec<String> {
    let answer = user.api.get("/_matrix/client/v3/sync").await.unwrap().ok().unwrap();
    let rooms = answer["rooms"]["invite"].as_object().cloned().unwrap_or_default();
    rooms.into_iter().map(|(room, _)| room).collect()
}

#[tokio::test]
async fn whoever_blocks_invites_is_invited_by_no_way() {
    let (alice, bob) = (support::user("alice").await, support::user("bob").await);
    let room = alice.create_public_room().await.unwrap();
    alice.invite(&room, &bob.id).await.unwrap();
    assert_eq!(invites(&bob).await, [&*room]);
    set(&bob, "m.invite_permission_config", json!({ "default_action": "block" })).await;
    assert!(invites(&bob).await.is_empty(), "earlier ones are not shown either");
    let other = alice.create_public_room().await.unwrap();
    let blocked = |answer: Answer| answer.expect_error(403, "M_INVITE_BLOCKED").unwrap();
    blocked(invite(&alice, &other, json!({ "user_id": bob.id })).await);
    let member = path("/_matrix/client/v3/rooms/{}/state/m.room.member/{}", &[&other, &bob.id]);
    blocked(alice.api.put(&member, json!({ "membership": "invite" })).await.unwrap());
    let body = json!({ "invite": [bob.id] });
    blocked(alice.api.post("/_matrix/client/v3/createRoom", body).await.unwrap());
    set(&bob, "m.invite_permission_config", json!({})).await;
    assert_eq!(invites(&bob).await, [&*room]);
    alice.invite(&other, &bob.id).await.unwrap();
}

#[tokio::test]
async fn users_and_servers_are_blocked_and_ignored_by_lists() {
    let (alice, bob) = (support::user("alice").await, support::user("bob").await);
    let room = alice.create_public_room().await.unwrap();
    let server = alice.id.split_once(':').unwrap().1;
    for lists in [
        json!({ "blocked_users": [alice.id] }),
        json!({ "blocked_users": ["@alice-?*"] }),
        json!({ "blocked_servers": [server] }),
        json!({ "blocked_servers": ["*"], "allowed_users": [bob.id] }),
    ] {
        set(&bob, LISTS, lists.clone()).await;
        let answer = invite(&alice, &room, json!({ "user_id": bob.id })).await;
        answer.expect_error(403, "M_INVITE_BLOCKED").unwrap();
    }
    set(&bob, LISTS, json!({ "ignored_users": [alice.id] })).await;
    alice.invite(&room, &bob.id).await.unwrap();
    assert!(invites(&bob).await.is_empty());
    let ways = "/_matrix/client/v3/notifications";
    let notifications = bob.api.get(ways).await.unwrap().ok().unwrap();
    assert_eq!(notifications["notifications"], json!([]));
    set(&bob, LISTS, json!({ "ignored_users": [alice.id], "allowed_users": ["*"] })).await;
    assert_eq!(invites(&bob).await, [&*room]);
}

#[tokio::test]
async fn invites_of_other_servers_are_judged_too() {
    let scene = Scene::set("11").await;
    let carol = support::user("carol").await;
    let room = scene.peer.create_room_with("11", &scene.mallory, "invite", &[]).unwrap();
    set(&carol, LISTS, json!({ "blocked_servers": [scene.peer.name] })).await;
    let invited = scene.peer.invite(scene.server, &room, &scene.mallory, &carol.id).await;
    let refusal = format!("{:?}", invited.unwrap_err());
    assert!(refusal.contains("M_INVITE_BLOCKED"), "{refusal}");
    set(&carol, LISTS, json!({ "ignored_users": [scene.mallory] })).await;
    scene.peer.invite(scene.server, &room, &scene.mallory, &carol.id).await.unwrap();
    assert!(invites(&carol).await.is_empty());
    set(&carol, LISTS, json!({})).await;
    assert!(invites(&carol).await.is_empty(), "what nobody could refuse is not kept");
    scene.peer.invite(scene.server, &room, &scene.mallory, &carol.id).await.unwrap();
    assert_eq!(invites(&carol).await, [&*room.id]);
}

#[tokio::test]
async fn invites_of_ignored_users_are_not_shown() {
    let (alice, bob) = (support::user("alice").await, support::user("bob").await);
    let ignored = json!({ "ignored_users": { (&*alice.id): {} } });
    set(&bob, "m.ignored_user_list", ignored).await;
    let room = alice.create_public_room().await.unwrap();
    alice.invite(&room, &bob.id).await.unwrap();
    assert!(invites(&bob).await.is_empty());
    let notifications = bob.api.get("/_matrix/client/v3/notifications").await.unwrap();
    assert_eq!(notifications.ok().unwrap()["notifications"], json!([]));
}

#[tokio::test]
async fn what_is_no_invite_or_not_allowed_is_refused() {
    let (alice, bob) = (support::user("alice").await, support::user("bob").await);
    let room = alice.create_public_room().await.unwrap();
    let target = path("/_matrix/client/v3/rooms/{}/invite", &[&room]);
    for (body, errcode) in
        [("{", "M_NOT_JSON"), ("[]", "M_BAD_JSON"), (r#"{ "user_id": 5 }"#, "M_BAD_JSON")]
    {
        let answer = alice.api.raw(Method::POST, &target, "application/json", body).await.unwrap();
        answer.expect_error(400, errcode).unwrap();
    }
    for by in [&bob, &alice] {
        let answer = invite(by, &room, json!({ "user_id": alice.id })).await;
        answer.expect_error(403, "M_FORBIDDEN").unwrap();
    }
}

#[tokio::test]
async fn a_server_that_does_not_know_the_version_is_told_of() {
    let peer = support::peer().await;
    let alice = support::user("alice").await;
    let body = json!({ "preset": "private_chat", "room_version": "11" });
    let room = alice.create_room(body).await.unwrap();
    let trent = json!({ "user_id": peer.user("trent") });
    for errcode in ["M_INCOMPATIBLE_ROOM_VERSION", "M_UNSUPPORTED_ROOM_VERSION"] {
        peer.answer("invite", Reply::error(400, errcode));
        let answer = invite(&alice, &room, trent.clone()).await;
        answer.expect_error(400, "M_UNSUPPORTED_ROOM_VERSION").unwrap();
    }
    // What the two servers say to each other is nothing that the client did wrong.
    peer.answer("invite", Reply::error(400, "M_MISSING_PARAM"));
    invite(&alice, &room, trent).await.expect_error(502, "M_UNKNOWN").unwrap();
}

#[tokio::test]
async fn a_room_for_one_server_takes_no_users_of_others() {
    let server = support::server().await;
    let (alice, peer) = (support::user("alice").await, support::peer().await);
    let mallory = peer.user("mallory");
    let options = json!({ "preset": "public_chat", "creation_content": { "m.federate": false } });
    let room = alice.create_room(options).await.unwrap();
    let answer = invite(&alice, &room, json!({ "user_id": mallory })).await;
    answer.expect_error(403, "M_FORBIDDEN").unwrap();
    assert!(peer.seen("invite").is_empty());
    let versions = "?ver=11&ver=12";
    let template = path("/_matrix/federation/v1/make_join/{}/{}", &[&room, &mallory]);
    let answer = peer.get(server, &format!("{template}{versions}")).await.unwrap();
    answer.expect_error(403, "M_FORBIDDEN").unwrap();
}
