//! Which gateways are told at all: what they reject, what their users take away, and where they may be.

use serde_json::json;
use starling_conformance::{client::path, gateway::Gateway};

use super::Scene;
use crate::{scene::Scene as Federated, support};

const SET: &str = "/_matrix/client/v3/pushers/set";

async fn pushkeys(user: &starling_conformance::client::User) -> Vec<String> {
    let answer = user.api.get("/_matrix/client/v3/pushers").await.unwrap().ok().unwrap();
    let pushers = answer["pushers"].as_array().unwrap().clone();
    pushers.iter().map(|it| it["pushkey"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_rejected_pushkey_is_told_nothing_more() {
    let scene = Scene::set().await;
    let other = scene.gateway.tells(&scene.bob).await.unwrap();
    scene.gateway.reject(&scene.pushkey);
    scene.say("the last thing that it hears").await;
    let is_gone = async || pushkeys(&scene.bob).await == [other.clone()];
    support::until("the pushkey is still there", is_gone).await;
    let event_id = scene.alice.say(&scene.room, "for the others").await.unwrap();
    scene.gateway.wait_for(&other, &event_id).await.unwrap();
    assert_eq!(scene.gateway.events(&scene.pushkey).len(), 1);
    scene.all_was_well();
}

#[tokio::test]
async fn who_logs_out_or_switches_it_off_is_told_nothing_more() {
    let scene = Scene::set().await;
    let Scene { gateway, alice, bob, room, pushkey } = &scene;
    let second = bob.login().await.unwrap();
    let of_second = gateway.tells(&second).await.unwrap();
    let heard = scene.say("both hear it").await;
    gateway.wait_for(&of_second, &heard).await.unwrap();
    second.api.post("/_matrix/client/v3/logout", json!({})).await.unwrap().ok().unwrap();
    let (mut off, mut gone) = (gateway.pusher().unwrap(), json!({ "kind": null }));
    off["pushkey"] = json!(pushkey);
    off["org.matrix.msc3881.enabled"] = json!(false);
    bob.api.post(SET, off.clone()).await.unwrap().ok().unwrap();
    let witness = gateway.tells(bob).await.unwrap();
    let silent = alice.say(room, "silence").await.unwrap();
    gateway.wait_for(&witness, &silent).await.unwrap();
    off["org.matrix.msc3881.enabled"] = json!(true);
    bob.api.post(SET, off).await.unwrap().ok().unwrap();
    let again = scene.say("again").await;
    assert_eq!(gateway.events(pushkey), [heard.clone(), again], "of the silence nothing is told");
    assert_eq!(gateway.events(&of_second), [heard]);
    (gone["app_id"], gone["pushkey"]) = (json!("org.example.tests"), json!(pushkey));
    bob.api.post(SET, gone).await.unwrap().ok().unwrap();
    let last = alice.say(room, "last").await.unwrap();
    gateway.wait_for(&witness, &last).await.unwrap();
    assert_eq!(gateway.events(pushkey).len(), 2);
    scene.all_was_well();
}

#[tokio::test]
async fn a_pushkey_that_went_to_somebody_else_tells_only_them() {
    let scene = Scene::set().await;
    let Scene { gateway, alice, room, pushkey, .. } = &scene;
    let dave = support::user("dave").await;
    let values = json!({ "pushkey": pushkey, "append": false });
    gateway.tells_with(&dave, values).await.unwrap();
    alice.say(room, "for Bob, who is told nothing").await.unwrap();
    let other = alice.create_public_room().await.unwrap();
    dave.join(&other, &[]).await.unwrap();
    let event_id = alice.say(&other, "for Dave").await.unwrap();
    gateway.wait_for(pushkey, &event_id).await.unwrap();
    assert_eq!(gateway.events(pushkey), [event_id]);
    scene.all_was_well();
}

#[tokio::test]
async fn gateways_in_private_networks_are_asked_only_where_that_is_allowed() {
    let server = support::server_with(&[("PUSH__ALLOW_PRIVATE_ADDRESSES", "false")]).await;
    let gateway = Gateway::start().await.unwrap();
    let alice = starling_conformance::client::User::register(&server, "alice").await.unwrap();
    let bob = starling_conformance::client::User::register(&server, "bob").await.unwrap();
    let answer = bob.api.post(SET, gateway.pusher().unwrap()).await.unwrap();
    answer.expect_error(400, "M_INVALID_PARAM").unwrap();
    let mut secure = gateway.pusher().unwrap();
    secure["data"]["url"] = json!(gateway.url().replace("http:", "https:"));
    bob.api.post(SET, secure).await.unwrap().ok().unwrap();
    let room = alice.create_public_room().await.unwrap();
    bob.join(&room, &[]).await.unwrap();
    alice.say(&room, "hello").await.unwrap();
    let needle = "no address that may be asked";
    support::until("it was asked", async || {
        alice.api.get("/_matrix/client/versions").await.unwrap().ok().unwrap();
        server.log_tail().contains(needle)
    })
    .await;
    assert!(gateway.came().is_empty());
}

#[tokio::test]
async fn an_invite_to_a_room_of_another_server_is_told() {
    let scene = Federated::set("11").await;
    let gateway = Gateway::start().await.unwrap();
    let pushkey = gateway.tells(&scene.alice).await.unwrap();
    let room = scene.peer.create_room("11", &scene.mallory).unwrap();
    scene.peer.invite(scene.server, &room, &scene.mallory, &scene.alice.id).await.unwrap();
    let told = gateway.wait(|gateway| gateway.taken(&pushkey).into_iter().next()).await.unwrap();
    let told = told.notification;
    assert_eq!((&told["type"], &told["room_id"]), (&json!("m.room.member"), &json!(room.id)));
    assert_eq!((&told["sender"], &told["user_is_target"]), (&json!(scene.mallory), &json!(true)));
    assert_eq!(told["counts"]["unread"], 1);
    let leave = path("/_matrix/client/v3/rooms/{}/leave", &[&room.id]);
    scene.alice.api.post(&leave, json!({})).await.unwrap().ok().unwrap();
    gateway.wait_for_unread(&pushkey, 0).await.unwrap();
    assert_eq!(gateway.wrong(), [] as [&str; 0]);
}
