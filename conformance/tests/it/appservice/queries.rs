//! Users and rooms that an application service makes when somebody asks for them.

use std::sync::Arc;

use serde_json::json;
use starling_conformance::{
    appservice::{Bridge, Plan},
    client::{User, path},
    servers::Server,
};

use super::{scene, server_with};
use crate::support;

fn asked(bridge: &Bridge, path: &str) -> usize {
    bridge.asked().iter().filter(|it| it.method == "GET" && it.path == path).count()
}

/// Answers the question for an alias by making a room, as long as it is asked.
async fn make_room_when_asked(bridge: Arc<Bridge>, server: Arc<Server>, name: &'static str) {
    let question = format!("/_matrix/app/v1/rooms/#{name}:{}", server.name());
    bridge.wait(|it| it.questions().contains(&question).then_some(())).await.unwrap();
    let api = bridge.api(&server).unwrap();
    let body = json!({ "room_alias_name": name, "preset": "public_chat" });
    api.post("/_matrix/client/v3/createRoom", body).await.unwrap().ok().unwrap();
    bridge.release();
}

#[tokio::test]
async fn a_room_is_made_for_an_alias_that_somebody_asks_for() {
    let bridge = Bridge::start(Plan::new("irc")).await.unwrap();
    let server = server_with(&[&bridge], &[]).await;
    let other = support::start(support::spec()).await;
    let (bridge, server) = (Arc::new(bridge), Arc::new(server));
    let alice = User::register(&server, "alice").await.unwrap();
    let bob = User::register(&other, "bob").await.unwrap();
    for (name, by_other) in [("_irc_here", false), ("_irc_there", true)] {
        let alias = format!("#{name}:{}", server.name());
        bridge.hold(&format!("rooms/{alias}"), 200);
        let making = tokio::spawn(make_room_when_asked(bridge.clone(), server.clone(), name));
        let who = if by_other { &bob } else { &alice };
        who.join(&alias, &[]).await.unwrap();
        making.await.unwrap();
        // Who asks again is told without asking.
        let found = path("/_matrix/client/v3/directory/room/{}", &[&alias]);
        alice.api.get(&found).await.unwrap().ok().unwrap();
        let question = format!("/_matrix/app/v1/rooms/{alias}");
        assert_eq!(asked(&bridge, &question), 1);
    }
}

#[tokio::test]
async fn what_an_application_service_does_not_make_is_not_there() {
    let mut scene = scene().await;
    let alice = User::register(&scene.server, "alice").await.unwrap();
    let alias = format!("#_irc_none:{}", scene.server.name());
    let other = format!("#none:{}", scene.server.name());
    let room = |alias: &str| path("/_matrix/client/v3/directory/room/{}", &[alias]);
    let question = |what: &str, id: &str| format!("/_matrix/app/v1/{what}/{id}");
    for alias in [&alias, &other] {
        alice.api.get(&room(alias)).await.unwrap().expect_error(404, "M_NOT_FOUND").unwrap();
    }
    assert_eq!(asked(&scene.bridge, &question("rooms", &alias)), 1);
    assert_eq!(asked(&scene.bridge, &question("rooms", &other)), 0, "it is none of its business");
    let ghost = scene.bridge.ghost(&scene.server, "none");
    let profile = path("/_matrix/client/v3/profile/{}", &[&ghost]);
    alice.api.get(&profile).await.unwrap().expect_error(404, "M_NOT_FOUND").unwrap();
    assert_eq!(asked(&scene.bridge, &question("users", &ghost)), 1);
    let tokens = scene.bridge.asked().into_iter().map(|it| it.authorization);
    let expected = format!("Bearer {}", scene.bridge.hs_token());
    assert!(tokens.into_iter().all(|token| token == expected));
    // Who could make it is away.
    scene.bridge.go();
    let answer = alice.api.get(&room(&alias)).await.unwrap();
    answer.expect_error(408, "M_UNKNOWN").unwrap();
    let answer = alice.try_join(&alias, &[]).await.unwrap();
    answer.expect_error(408, "M_UNKNOWN").unwrap();
}

#[tokio::test]
async fn a_user_is_made_whom_somebody_invites() {
    let bridge = Bridge::start(Plan::new("irc")).await.unwrap();
    let server = server_with(&[&bridge], &[]).await;
    let other = support::start(support::spec()).await;
    let (bridge, server) = (Arc::new(bridge), Arc::new(server));
    let alice = User::register(&server, "alice").await.unwrap();
    let bob = User::register(&other, "bob").await.unwrap();
    for (who, name) in [(&alice, "here"), (&bob, "there")] {
        let ghost = bridge.ghost(&server, name);
        let asks = format!("users/{ghost}");
        bridge.hold(&asks, 200);
        let question = format!("/_matrix/app/v1/{asks}");
        let (making, at) = (bridge.clone(), server.clone());
        let making = tokio::spawn(async move {
            making.wait(|it| it.questions().contains(&question).then_some(())).await.unwrap();
            making.register(&at, name).await.unwrap();
            making.release();
        });
        let room = who.create_room(json!({ "preset": "private_chat" })).await.unwrap();
        who.invite(&room, &ghost).await.unwrap();
        making.await.unwrap();
        let is_invite = |event: &serde_json::Value| {
            event["state_key"] == *ghost && event["content"]["membership"] == "invite"
        };
        bridge.wait(|it| it.events().into_iter().find(is_invite)).await.unwrap();
    }
}
