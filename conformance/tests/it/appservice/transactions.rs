//! `PUT /_matrix/app/v1/transactions/{txnId}`: what an application service is told.

use std::time::Duration;

use serde_json::{Value, json};
use starling_conformance::{
    appservice::{Bridge, Plan, acting_for},
    client::{User, encode, path, text},
    servers::Server,
};

use super::{scene, scene_of, server_with};
use crate::support;

/// What is said in the messages that came in, in order.
fn said(bridge: &Bridge) -> Vec<String> {
    let events = bridge.events();
    let bodies = events.iter().filter_map(|event| event["content"]["body"].as_str());
    bodies.map(ToOwned::to_owned).collect()
}

async fn join(bridge: &Bridge, server: &Server, room: &str, user: &str) {
    let target = path("/_matrix/client/v3/join/{}?", &[room]) + &acting_for(user);
    bridge.api(server).unwrap().post(&target, json!({})).await.unwrap().ok().unwrap();
}

/// A room of somebody in which there is a user of the application service.
async fn bridged_room(bridge: &Bridge, server: &Server) -> (User, String) {
    let ghost = bridge.register(server, "a").await.unwrap();
    let alice = User::register(server, "alice").await.unwrap();
    let room = alice.create_public_room().await.unwrap();
    join(bridge, server, &room, &ghost).await;
    (alice, room)
}

#[tokio::test]
async fn events_are_told_as_clients_see_them() {
    let scene = scene().await;
    let ghost = scene.bridge.register(&scene.server, "a").await.unwrap();
    let alice = User::register(&scene.server, "alice").await.unwrap();
    let room = alice.create_public_room().await.unwrap();
    alice.say(&room, "nobody is there").await.unwrap();
    alice.invite(&room, &ghost).await.unwrap();
    let is_invite = |event: &Value| event["content"]["membership"] == "invite";
    let invite = scene.bridge.wait(|bridge| bridge.events().into_iter().find(is_invite));
    let invite = invite.await.unwrap();
    assert_eq!((&invite["state_key"], &invite["room_id"]), (&json!(ghost), &json!(room)));
    join(&scene.bridge, &scene.server, &room, &ghost).await;
    let event_id = alice.say(&room, "hello").await.unwrap();
    let event = scene.bridge.wait_for_event(&event_id).await.unwrap();
    assert_eq!(event["room_id"], room);
    assert_eq!(event["sender"], alice.id);
    assert_eq!(event["content"], json!({ "msgtype": "m.text", "body": "hello" }));
    assert!(event["unsigned"]["age"].is_i64(), "{event}");
    for key in ["auth_events", "prev_events", "hashes", "signatures"] {
        assert_eq!(event.get(key), None);
    }
    assert_eq!(said(&scene.bridge), ["hello"]);
    let sent = scene.bridge.asked();
    assert!(sent.iter().all(|it| it.method == "PUT" && it.body.get("ephemeral").is_none()));
    let token = format!("Bearer {}", scene.bridge.hs_token());
    assert!(sent.iter().all(|asked| asked.authorization == token), "{sent:?}");
}

#[tokio::test]
async fn each_application_service_is_told_its_own() {
    let irc = Bridge::start(Plan::new("irc")).await.unwrap();
    let mut plan = Plan::new("log");
    plan.namespaces = json!({ "rooms": [{ "regex": "!", "exclusive": false }] });
    let log = Bridge::start(plan).await.unwrap();
    let server = server_with(&[&irc, &log], &[]).await;
    let alice = User::register(&server, "alice").await.unwrap();
    let apart = alice.create_public_room().await.unwrap();
    let apart = alice.say(&apart, "apart").await.unwrap();
    log.wait_for_event(&apart).await.unwrap();
    let (bob, room) = bridged_room(&irc, &server).await;
    let here = bob.say(&room, "here").await.unwrap();
    irc.wait_for_event(&here).await.unwrap();
    log.wait_for_event(&here).await.unwrap();
    assert_eq!(said(&irc), ["here"]);
    assert_eq!(said(&log), ["apart", "here"]);
}

#[tokio::test]
async fn who_is_down_or_fails_is_told_everything_later_and_in_order() {
    let mut scene = scene().await;
    let (alice, room) = bridged_room(&scene.bridge, &scene.server).await;
    scene.bridge.fail(Some(500));
    alice.say(&room, "1").await.unwrap();
    let refused = |bridge: &Bridge| bridge.asked().into_iter().filter(|it| it.status == 500).nth(1);
    scene.bridge.wait(refused).await.unwrap();
    scene.bridge.go();
    for body in ["2", "3"] {
        alice.say(&room, body).await.unwrap();
    }
    scene.bridge.fail(None);
    scene.bridge.come_back().await.unwrap();
    // It says that it is there again.
    let whoami = "/_matrix/client/v3/account/whoami";
    scene.bridge.api(&scene.server).unwrap().get(whoami).await.unwrap().ok().unwrap();
    let last = alice.say(&room, "4").await.unwrap();
    scene.bridge.wait_for_event(&last).await.unwrap();
    assert_eq!(said(&scene.bridge), ["1", "2", "3", "4"]);
    // What was tried again was the same.
    let asked = scene.bridge.asked();
    let first = asked.iter().find(|it| it.status == 500).unwrap();
    let again: Vec<_> = asked.iter().filter(|it| it.path == first.path).collect();
    assert!(again.len() > 2 && again.iter().all(|it| it.body == first.body), "{again:?}");
}

#[tokio::test]
async fn nothing_is_lost_or_out_of_order_when_the_server_is_killed() {
    let scene = scene().await;
    let (alice, room) = bridged_room(&scene.bridge, &scene.server).await;
    let mut expected = Vec::new();
    for round in 0..4 {
        // So that the end comes while something is on its way.
        scene.bridge.be_slow(Duration::from_millis(30));
        for number in 0..8 {
            let body = format!("{round}.{number}");
            alice.say(&room, &body).await.unwrap();
            expected.push(body);
        }
        match round {
            2 => assert_eq!(scene.server.stop().unwrap(), Some(0)),
            _ => scene.server.kill().unwrap(),
        }
        scene.server.resume().await.unwrap();
    }
    scene.bridge.be_slow(Duration::ZERO);
    let last = alice.say(&room, "last").await.unwrap();
    expected.push("last".to_owned());
    scene.bridge.wait_for_event(&last).await.unwrap();
    assert_eq!(said(&scene.bridge), expected);
}

#[tokio::test]
async fn ephemeral_events_are_told_to_who_wants_them() {
    let plan = Plan::new("irc").with("receive_ephemeral", json!(true));
    let scene = scene_of(plan, &[]).await;
    let (alice, room) = bridged_room(&scene.bridge, &scene.server).await;
    let event = alice.say(&room, "hello").await.unwrap();
    let typing = path("/_matrix/client/v3/rooms/{}/typing/{}", &[&room, &alice.id]);
    let body = json!({ "typing": true, "timeout": 30_000 });
    alice.api.put(&typing, body).await.unwrap().ok().unwrap();
    for kind in ["m.read", "m.read.private"] {
        let receipt = path("/_matrix/client/v3/rooms/{}/receipt/{}/{}", &[&room, kind, &event]);
        alice.api.post(&receipt, json!({})).await.unwrap().ok().unwrap();
    }
    let presence = path("/_matrix/client/v3/presence/{}/status", &[&alice.id]);
    let body = json!({ "presence": "online", "status_msg": "here" });
    alice.api.put(&presence, body).await.unwrap().ok().unwrap();
    let of = |kind: &'static str| {
        move |bridge: &Bridge| bridge.ephemeral().into_iter().rfind(|it| it["type"] == kind)
    };
    let typing = scene.bridge.wait(of("m.typing")).await.unwrap();
    assert_eq!(typing["room_id"], room);
    assert_eq!(typing["content"], json!({ "user_ids": [alice.id] }));
    let receipt = scene.bridge.wait(of("m.receipt")).await.unwrap();
    assert_eq!(receipt["room_id"], room);
    assert!(receipt["content"][&event]["m.read"][&alice.id].is_object(), "{receipt}");
    let shows = |it: &Value| it["content"]["status_msg"] == "here" && it["sender"] == alice.id;
    let presence = scene.bridge.wait(|bridge| bridge.ephemeral().into_iter().find(shows));
    assert_eq!(presence.await.unwrap()["content"]["presence"], "online");
    let all = json!(scene.bridge.ephemeral()).to_string();
    assert!(!all.contains("m.read.private"), "{all}");
}

#[tokio::test]
async fn invites_to_rooms_of_other_servers_are_told_with_what_is_known_of_them() {
    let scene = scene().await;
    let other = support::start(support::spec()).await;
    let ghost = scene.bridge.register(&scene.server, "a").await.unwrap();
    let bob = User::register(&other, "bob").await.unwrap();
    let body = json!({ "preset": "private_chat", "name": "Far away" });
    let room = bob.create_room(body).await.unwrap();
    bob.invite(&room, &ghost).await.unwrap();
    let is_invite = |event: &Value| event["room_id"] == room;
    let invite = scene.bridge.wait(|bridge| bridge.events().into_iter().find(is_invite));
    let invite = invite.await.unwrap();
    assert_eq!(invite["content"]["membership"], "invite");
    assert_eq!((&invite["state_key"], &invite["sender"]), (&json!(ghost), &json!(bob.id)));
    assert!(text(&invite, "/event_id").unwrap().starts_with('$'));
    let state = invite["unsigned"]["invite_room_state"].as_array().unwrap();
    assert!(state.iter().any(|it| it["content"]["name"] == "Far away"), "{state:?}");
    // It joins, and is told what is said there.
    let via = format!("&via={}", encode(other.name()));
    let target = path("/_matrix/client/v3/join/{}?", &[&room]) + &acting_for(&ghost) + &via;
    let api = scene.bridge.api(&scene.server).unwrap();
    api.post(&target, json!({})).await.unwrap().ok().unwrap();
    let event = bob.say(&room, "welcome").await.unwrap();
    scene.bridge.wait_for_event(&event).await.unwrap();
}
