//! `POST /_matrix/push/v1/notify`: what a notification says, and of what there is one.

use serde_json::{Value, json};
use starling_conformance::client::path;

use super::Scene;

#[tokio::test]
async fn a_message_is_told_with_everything_that_helps_to_show_it() {
    let scene = Scene::set().await;
    let Scene { gateway, alice, room, pushkey, .. } = &scene;
    let (name, alias) = (json!({ "name": "The den" }), alice.id.replace('@', "#"));
    alice.set_state(room, "m.room.name", "", name).await.unwrap();
    let directory = path("/_matrix/client/v3/directory/room/{}", &[&alias]);
    alice.api.put(&directory, json!({ "room_id": room })).await.unwrap().ok().unwrap();
    let content = json!({ "alias": alias });
    alice.set_state(room, "m.room.canonical_alias", "", content).await.unwrap();
    let named = json!({ "membership": "join", "displayname": "Alice" });
    alice.set_state(room, "m.room.member", &alice.id, named).await.unwrap();
    let content = json!({ "msgtype": "m.text", "body": "hello", "org.example": { "a": [1] } });
    let event_id = alice.send(room, "m.room.message", content.clone()).await.unwrap();
    let mut told = gateway.wait_for(pushkey, &event_id).await.unwrap();
    let ts = told["devices"][0]["pushkey_ts"].take();
    assert!(ts.is_u64());
    let wanted = json!({
        "event_id": event_id, "room_id": room, "type": "m.room.message", "sender": alice.id,
        "sender_display_name": "Alice", "room_name": "The den", "room_alias": alias,
        "prio": "low", "content": content, "counts": { "unread": 1 },
        "devices": [{
            "app_id": "org.example.tests", "pushkey": pushkey, "pushkey_ts": null, "data": {},
        }],
    });
    assert_eq!(told, wanted);
    scene.all_was_well();
}

#[tokio::test]
async fn what_the_client_wrote_for_the_gateway_reaches_it() {
    let scene = Scene::set().await;
    let url = scene.gateway.url().replace("/_matrix", "/behind/_matrix") + "?token=x";
    let data = json!({ "url": url, "format": "event_id_only", "mine": { "a": [1, 2.5, null] } });
    let pushkey = scene.gateway.tells_with(&scene.bob, json!({ "data": data })).await.unwrap();
    let event_id = scene.say("hello").await;
    let told = scene.gateway.wait_for(&pushkey, &event_id).await.unwrap();
    let mine = json!({ "format": "event_id_only", "mine": { "a": [1, 2.5, null] } });
    assert_eq!(told["devices"][0]["data"], mine);
    let keys: Vec<&String> = told.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["counts", "devices", "event_id", "prio", "room_id"]);
    let came = scene.gateway.taken(&pushkey);
    assert_eq!(came[0].path, "/behind/_matrix/push/v1/notify?token=x");
    scene.all_was_well();
}

#[tokio::test]
async fn what_is_said_to_somebody_is_urgent() {
    let scene = Scene::set().await;
    let Scene { gateway, alice, bob, room, pushkey } = &scene;
    let mention = json!({
        "msgtype": "m.text", "body": "Bob", "m.mentions": { "user_ids": [bob.id] },
    });
    let mention = alice.send(room, "m.room.message", mention).await.unwrap();
    let told = gateway.wait_for(pushkey, &mention).await.unwrap();
    let aloud = json!({ "highlight": true, "sound": "default" });
    assert_eq!((&told["prio"], &told["devices"][0]["tweaks"]), (&json!("high"), &aloud));
    let secret = json!({ "algorithm": "m.megolm.v1.aes-sha2", "ciphertext": "x" });
    let secret = alice.send(room, "m.room.encrypted", secret).await.unwrap();
    let told = gateway.wait_for(pushkey, &secret).await.unwrap();
    assert_eq!(told["prio"], "high", "what is encrypted may be");
    let apart = json!({ "preset": "private_chat", "invite": [bob.id], "name": "Apart" });
    let apart = alice.create_room(apart).await.unwrap();
    let is_invite = |it: &Value| it["room_id"] == apart && it["content"]["membership"] == "invite";
    let invite = gateway.wait(|gateway| {
        gateway.taken(pushkey).into_iter().map(|it| it.notification).find(is_invite)
    });
    let invite = invite.await.unwrap();
    assert_eq!(invite["user_is_target"], true);
    assert_eq!((&invite["room_name"], &invite["prio"]), (&json!("Apart"), &json!("high")));
    scene.all_was_well();
}

#[tokio::test]
async fn there_is_none_of_what_does_not_notify() {
    let scene = Scene::set().await;
    let Scene { gateway, alice, bob, room, pushkey } = &scene;
    let account_data =
        path("/_matrix/client/v3/user/{}/account_data/{}", &[&bob.id, "m.ignored_user_list"]);
    let dave = crate::support::user("dave").await;
    dave.join(room, &[]).await.unwrap();
    let ignored = json!({ "ignored_users": { (dave.id.clone()): {} } });
    bob.api.put(&account_data, ignored).await.unwrap().ok().unwrap();
    bob.say(room, "my own").await.unwrap();
    dave.say(room, "ignored").await.unwrap();
    alice.set_state(room, "m.room.topic", "", json!({ "topic": "x" })).await.unwrap();
    let notice = json!({ "msgtype": "m.notice", "body": "a robot" });
    alice.send(room, "m.room.message", notice).await.unwrap();
    let profile = path("/_matrix/client/v3/profile/{}/displayname", &[&alice.id]);
    alice.api.put(&profile, json!({ "displayname": "A" })).await.unwrap().ok().unwrap();
    dave.leave(room).await.unwrap();
    let first = scene.say("heard").await;
    let rule = path("/_matrix/client/v3/pushrules/global/room/{}", &[room]);
    bob.api.put(&rule, json!({ "actions": [] })).await.unwrap().ok().unwrap();
    alice.say(room, "muted").await.unwrap();
    bob.api.delete(&rule).await.unwrap().ok().unwrap();
    let second = scene.say("heard again").await;
    assert_eq!(gateway.events(pushkey), [first, second]);
    bob.leave(room).await.unwrap();
    alice.say(room, "nobody's business").await.unwrap();
    let other = alice.create_public_room().await.unwrap();
    bob.join(&other, &[]).await.unwrap();
    let last = alice.say(&other, "elsewhere").await.unwrap();
    gateway.wait_for(pushkey, &last).await.unwrap();
    assert_eq!(gateway.events(pushkey).len(), 3);
    scene.all_was_well();
}

#[tokio::test]
async fn each_pusher_is_told_everything_in_order() {
    let scene = Scene::set().await;
    let second = scene.gateway.tells(&scene.bob).await.unwrap();
    let mut said = Vec::new();
    for number in 0..20 {
        said.push(scene.alice.say(&scene.room, &number.to_string()).await.unwrap());
    }
    for pushkey in [&scene.pushkey, &second] {
        scene.gateway.wait_for(pushkey, &said[19]).await.unwrap();
        assert_eq!(scene.gateway.events(pushkey), said);
    }
    scene.all_was_well();
}
