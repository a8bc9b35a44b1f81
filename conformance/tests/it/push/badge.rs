//! The number of unread messages, which gateways show beside an application's icon.

use serde_json::{Value, json};
use starling_conformance::client::{User, path};

use super::Scene;

async fn read(user: &User, room: &str, kind: &str, event: &str) {
    let template = "/_matrix/client/v3/rooms/{}/receipt/{}/{}";
    let target = path(template, &[room, kind, event]);
    user.api.post(&target, json!({})).await.unwrap().ok().unwrap();
}

#[tokio::test]
async fn the_number_grows_with_messages_and_goes_with_receipts() {
    let scene = Scene::set().await;
    let Scene { gateway, alice, bob, room, pushkey } = &scene;
    let other = alice.create_public_room().await.unwrap();
    bob.join(&other, &[]).await.unwrap();
    let first = scene.say("one").await;
    scene.say("two").await;
    let third = alice.say(&other, "elsewhere").await.unwrap();
    let told = gateway.wait_for(pushkey, &third).await.unwrap();
    assert_eq!(told["counts"]["unread"], 3, "of all rooms");
    read(bob, room, "m.read", &first).await;
    gateway.wait_for_unread(pushkey, 2).await.unwrap();
    read(bob, &other, "m.read.private", &third).await;
    let told = gateway.wait_for_unread(pushkey, 1).await.unwrap();
    let keys: Vec<&String> = told.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["counts", "devices", "prio"], "there is nothing to alert of");
    bob.say(room, "I am here").await.unwrap();
    gateway.wait_for_unread(pushkey, 0).await.unwrap();
    scene.all_was_well();
}

#[tokio::test]
async fn what_was_read_elsewhere_is_not_told_any_more() {
    let scene = Scene::set().await;
    let Scene { gateway, alice, bob, room, pushkey } = &scene;
    gateway.fail(Some(503));
    let event_id = alice.say(room, "read on another device").await.unwrap();
    let refused =
        |it: &starling_conformance::gateway::Gateway| (!it.came().is_empty()).then_some(());
    gateway.wait(refused).await.unwrap();
    read(bob, room, "m.read", &event_id).await;
    gateway.fail(None);
    let next = scene.say("not read").await;
    assert_eq!(gateway.events(pushkey), [next]);
    scene.all_was_well();
}

#[tokio::test]
async fn an_invite_counts_until_it_is_answered() {
    let scene = Scene::set().await;
    let Scene { gateway, alice, bob, pushkey, .. } = &scene;
    let options = json!({ "preset": "private_chat", "invite": [bob.id] });
    let room = alice.create_room(options).await.unwrap();
    let is_invite = |it: &Value| it["room_id"] == room;
    let invite = gateway.wait(|gateway| {
        gateway.taken(pushkey).into_iter().map(|it| it.notification).find(is_invite)
    });
    assert_eq!(invite.await.unwrap()["counts"]["unread"], 1);
    bob.leave(&room).await.unwrap();
    gateway.wait_for_unread(pushkey, 0).await.unwrap();
    scene.all_was_well();
}
