//! What the encryption of an application service's users needs, as transactions tell it.

use std::time::Duration;

use serde_json::{Value, json};
use starling_conformance::{
    appservice::{Bridge, Plan, acting_for},
    client::{User, path},
    servers::Server,
};

use super::scene_of;
use crate::client::keys::{device_keys, fallback_key, one_time_keys, upload};

const LISTS: &str = "org.matrix.msc3202.device_lists";
const COUNTS: &str = "org.matrix.msc3202.device_one_time_keys_count";
const FALLBACK: &str = "org.matrix.msc3202.device_unused_fallback_key_types";

fn plan() -> Plan {
    Plan::new("irc").with("receive_ephemeral", json!(true)).with("org.matrix.msc3202", json!(true))
}

/// A user of the application service with a device, and the query by which it acts for that.
async fn ghost(bridge: &Bridge, server: &Server, name: &str) -> (String, String) {
    let ghost = bridge.register(server, name).await.unwrap();
    let api = bridge.api(server).unwrap();
    let target = format!("/_matrix/client/v3/devices/GHOST?{}", acting_for(&ghost));
    api.put(&target, json!({})).await.unwrap().expect_status(201).unwrap();
    let acting = format!("{}&device_id=GHOST", acting_for(&ghost));
    (ghost, acting)
}

async fn send(user: &User, ghost: &str, number: usize) {
    let target = format!("/_matrix/client/v3/sendToDevice/org.example.numbered/{number}");
    let body = json!({ "messages": { ghost: { "*": { "number": number } } } });
    user.api.put(&target, body).await.unwrap().ok().unwrap();
}

fn numbers(bridge: &Bridge) -> Vec<u64> {
    let messages = bridge.to_device();
    messages.iter().map(|it| it["content"]["number"].as_u64().unwrap()).collect()
}

/// The messages that /sync shows to a device.
async fn waiting(bridge: &Bridge, server: &Server, acting: &str) -> usize {
    let target = format!("/_matrix/client/v3/sync?timeout=0&{acting}");
    let answer = bridge.api(server).unwrap().get(&target).await.unwrap().ok().unwrap();
    answer["to_device"]["events"].as_array().map_or(0, Vec::len)
}

#[tokio::test]
async fn messages_to_devices_are_told_once_also_after_crashes() {
    let scene = scene_of(plan(), &[]).await;
    let (ghost, acting) = ghost(&scene.bridge, &scene.server, "a").await;
    let alice = User::register(&scene.server, "alice").await.unwrap();
    let mut sent = 0;
    for _ in 0..3 {
        // So that the end comes while something is on its way.
        scene.bridge.be_slow(Duration::from_millis(30));
        for _ in 0..6 {
            sent += 1;
            send(&alice, &ghost, sent).await;
        }
        scene.server.kill().unwrap();
        scene.server.resume().await.unwrap();
    }
    scene.bridge.be_slow(Duration::ZERO);
    sent += 1;
    send(&alice, &ghost, sent).await;
    scene.bridge.wait(|bridge| (numbers(bridge).len() >= sent).then_some(())).await.unwrap();
    assert!(numbers(&scene.bridge).into_iter().eq(1..=u64::try_from(sent).unwrap()));
    let message = scene.bridge.to_device().remove(0);
    let wanted = json!({
        "type": "org.example.numbered", "sender": alice.id, "content": { "number": 1 },
        "to_user_id": ghost, "to_device_id": "GHOST",
    });
    assert_eq!(message, wanted);
    // What comes next is told when that was noted as taken.
    send(&alice, &ghost, sent + 1).await;
    scene.bridge.wait(|bridge| (numbers(bridge).len() > sent).then_some(())).await.unwrap();
    assert!(waiting(&scene.bridge, &scene.server, &acting).await <= 1);
}

#[tokio::test]
async fn who_does_not_encrypt_so_may_fetch_messages_too_and_hears_of_no_keys() {
    let plan = Plan::new("irc").with("receive_ephemeral", json!(true));
    let scene = scene_of(plan, &[]).await;
    let (ghost, acting) = ghost(&scene.bridge, &scene.server, "a").await;
    let alice = User::register(&scene.server, "alice").await.unwrap();
    upload(&alice, json!({ "device_keys": device_keys(&alice, "a") })).await;
    for number in 1..=2 {
        send(&alice, &ghost, number).await;
    }
    scene.bridge.wait(|bridge| (numbers(bridge) == [1, 2]).then_some(())).await.unwrap();
    assert_eq!(waiting(&scene.bridge, &scene.server, &acting).await, 2);
    let told = scene.bridge.transactions();
    assert!(told.iter().all(|it| it.body.get(LISTS).or(it.body.get(COUNTS)).is_none()));
}

#[tokio::test]
async fn who_wants_neither_is_sent_none() {
    let scene = scene_of(Plan::new("irc"), &[]).await;
    let (ghost, acting) = ghost(&scene.bridge, &scene.server, "a").await;
    let alice = User::register(&scene.server, "alice").await.unwrap();
    send(&alice, &ghost, 1).await;
    let room = alice.create_public_room().await.unwrap();
    alice.invite(&room, &ghost).await.unwrap();
    scene.bridge.wait(|bridge| (!bridge.events().is_empty()).then_some(())).await.unwrap();
    assert!(scene.bridge.to_device().is_empty());
    assert_eq!(waiting(&scene.bridge, &scene.server, &acting).await, 1);
}

/// Waits until a list of devices names somebody.
async fn named(bridge: &Bridge, list: &str, user_id: &str) {
    let names = |told: &Value| {
        told[LISTS][list].as_array().is_some_and(|it| it.iter().any(|it| it == user_id))
    };
    let find = |bridge: &Bridge| bridge.transactions().iter().any(|it| names(&it.body));
    bridge.wait(|bridge| find(bridge).then_some(())).await.unwrap();
}

#[tokio::test]
async fn changed_devices_and_used_keys_are_told() {
    let scene = scene_of(plan(), &[]).await;
    let (bridge, server) = (&scene.bridge, &scene.server);
    let (ghost, acting) = ghost(bridge, server, "a").await;
    let api = bridge.api(server).unwrap();
    let stranger = User::register(server, "stranger").await.unwrap();
    upload(&stranger, json!({ "device_keys": device_keys(&stranger, "s") })).await;
    let alice = User::register(server, "alice").await.unwrap();
    let room = alice.create_public_room().await.unwrap();
    let join = path("/_matrix/client/v3/join/{}?", &[&room]) + &acting_for(&ghost);
    api.post(&join, json!({})).await.unwrap().ok().unwrap();
    // With the first of its users come all who are there already.
    named(bridge, "changed", &alice.id).await;
    let bob = User::register(server, "bob").await.unwrap();
    bob.join(&room, &[]).await.unwrap();
    named(bridge, "changed", &bob.id).await;
    let seen = bridge.transactions().len();
    upload(&alice, json!({ "device_keys": device_keys(&alice, "a") })).await;
    let changed = |bridge: &Bridge| {
        let told = bridge.transactions();
        let news = told.iter().skip(seen).find(|it| it.body.get(LISTS).is_some());
        news.map(|it| it.body[LISTS].clone())
    };
    let lists = bridge.wait(changed).await.unwrap();
    assert_eq!(lists, json!({ "changed": [alice.id], "left": [] }));

    let keys = json!({
        "one_time_keys": one_time_keys(&["1", "2"]), "fallback_keys": fallback_key("3"),
    });
    let target = format!("/_matrix/client/v3/keys/upload?{acting}");
    api.post(&target, keys).await.unwrap().ok().unwrap();
    let claim = json!({ "one_time_keys": { &ghost: { "GHOST": "signed_curve25519" } } });
    alice.api.post("/_matrix/client/v3/keys/claim", claim).await.unwrap().ok().unwrap();
    send(&alice, &ghost, 1).await;
    let message = |bridge: &Bridge| {
        let told = bridge.transactions();
        told.into_iter().find(|it| it.body.get("de.sorunome.msc2409.to_device").is_some())
    };
    let told = bridge.wait(message).await.unwrap();
    assert_eq!(told.body[COUNTS], json!({ &ghost: { "GHOST": { "signed_curve25519": 1 } } }));
    assert_eq!(told.body[FALLBACK], json!({ &ghost: { "GHOST": ["signed_curve25519"] } }));
    bob.leave(&room).await.unwrap();
    named(bridge, "left", &bob.id).await;
    let told = json!(bridge.transactions().iter().map(|it| &it.body).collect::<Vec<_>>());
    assert!(!told.to_string().contains(&stranger.id), "{told}");
}
