//! GET /_matrix/client/v1/room_summary/{roomIdOrAlias}

use serde_json::json;
use starling_conformance::{
    client::{Answer, Api, User, path},
    evil::Reply,
};

use crate::support;

const STABLE: &str = "/_matrix/client/v1/room_summary/{}";

async fn summary(api: &Api, room: &str, query: &str) -> Answer {
    api.get(&format!("{}?{query}", path(STABLE, &[room]))).await.unwrap()
}

#[tokio::test]
async fn a_room_is_described_to_members_and_to_strangers() {
    let alice = support::user("alice").await;
    let bob = support::user("bob").await;
    let anybody = support::anonymous().await;
    let alias = format!("summary-{}", alice.device.to_lowercase());
    let body = json!({ "preset": "public_chat", "name": "Name", "topic": "Topic",
                       "room_version": "11", "room_alias_name": alias });
    let room = alice.create_room(body).await.unwrap();
    let alias = format!("#{alias}:{}", support::server().await.name());
    let mut expected = json!({
        "room_id": room, "name": "Name", "topic": "Topic", "canonical_alias": alias,
        "num_joined_members": 1, "guest_can_join": false, "world_readable": false,
        "join_rule": "public", "room_version": "11",
    });
    for name in [&room, &alias] {
        assert_eq!(summary(&anybody, name, "").await.ok().unwrap(), expected);
    }
    for (user, membership) in [(&alice, "join"), (&bob, "leave")] {
        expected["membership"] = json!(membership);
        for template in [
            STABLE,
            "/_matrix/client/unstable/im.nheko.summary/rooms/{}/summary",
            "/_matrix/client/unstable/im.nheko.summary/summary/{}",
        ] {
            let answer = user.api.get(&path(template, &[&alias])).await.unwrap();
            assert_eq!(answer.ok().unwrap(), expected, "{template}");
        }
    }
}

#[tokio::test]
async fn a_room_that_is_closed_or_unknown_is_not_found() {
    let alice = support::user("alice").await;
    let bob = support::user("bob").await;
    let anybody = support::anonymous().await;
    let room = alice.create_room(json!({ "preset": "private_chat" })).await.unwrap();
    for api in [&bob.api, &anybody] {
        for name in [&room, "!nowhere:localhost:1", "#nothing:localhost:1"] {
            summary(api, name, "").await.expect_error(404, "M_NOT_FOUND").unwrap();
        }
        summary(api, "nothing", "").await.expect_error(400, "M_INVALID_PARAM").unwrap();
    }
    summary(&bob.api, &room, "via=%20").await.expect_error(400, "M_INVALID_PARAM").unwrap();
    alice.invite(&room, &bob.id).await.unwrap();
    let seen = summary(&bob.api, &room, "").await.ok().unwrap();
    assert_eq!((&seen["membership"], &seen["join_rule"]), (&json!("invite"), &json!("invite")));
    let wrong = anybody.with_token("wrong");
    summary(&wrong, &room, "").await.expect_error(401, "M_UNKNOWN_TOKEN").unwrap();
}

#[tokio::test]
async fn another_server_is_asked_for_users_of_this_one() {
    let (here, there) = support::pair().await;
    let alice = User::register(here, "alice").await.unwrap();
    let bob = User::register(there, "bob").await.unwrap();
    let body = json!({ "preset": "public_chat", "room_version": "12", "name": "There" });
    let room = bob.create_room(body).await.unwrap();
    let query = path("via={}", &[there.name()]);
    let seen = summary(&alice.api, &room, &query).await.ok().unwrap();
    assert_eq!((&seen["name"], &seen["membership"]), (&json!("There"), &json!("leave")));
    let anybody = Api::new(here).unwrap();
    summary(&anybody, &room, &query).await.expect_error(404, "M_NOT_FOUND").unwrap();
}

#[tokio::test]
async fn what_another_server_refuses_is_not_found_here() {
    let alice = support::user("alice").await;
    let peer = support::peer().await;
    let room = format!("!room:{}", peer.name);
    for reply in [
        Reply::error(401, "M_UNKNOWN_TOKEN"),
        Reply::error(403, "M_USER_DEACTIVATED"),
        Reply::error(404, "M_NOT_FOUND"),
        Reply::ok(json!({})),
    ] {
        peer.answer("hierarchy", reply);
        summary(&alice.api, &room, "").await.expect_error(404, "M_NOT_FOUND").unwrap();
    }
    assert_eq!(peer.seen("hierarchy").len(), 4);
}
