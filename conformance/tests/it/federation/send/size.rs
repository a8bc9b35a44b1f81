//! Limits of size: bytes of the canonical event without what is not signed.

use serde_json::{Value, json};
use starling_conformance::{
    evil::{Event, Reply, render},
    servers::Kind,
};

use crate::scene::{Scene, VERSIONS};

const EVENT_LIMIT: usize = 65_536;

/// A message that has this many bytes as canonical JSON.
fn of_size(scene: &Scene, size: usize) -> Event {
    let message = |length: usize| {
        scene.sealed(&scene.room.message(&scene.mallory, &"x".repeat(length)).unwrap())
    };
    let rest = render(&message(0).pdu).unwrap().len();
    let event = message(size - rest);
    assert_eq!(render(&event.pdu).unwrap().len(), size);
    event
}

#[tokio::test]
async fn an_event_may_have_65536_bytes_and_more_beside_them() {
    for version in VERSIONS {
        let mut scene = Scene::set(version).await;
        // Synapse counts what it adds itself.
        let reserve = if scene.server.kind() == Kind::Synapse { 200 } else { 0 };
        let largest = of_size(&scene, EVENT_LIMIT - reserve);
        scene.room.add(&largest);
        scene.deliver(&[&largest]).await;
        scene.sees(&largest).await;
        let too_large = of_size(&scene, EVENT_LIMIT + 1);
        scene.deliver(&[&too_large]).await;
        scene.goes_on_without(&[("65,537 bytes", too_large)]).await;
    }
}

/// What is unsigned is not counted: it may grow on the way.
#[tokio::test]
async fn what_is_unsigned_does_not_count() {
    let mut scene = Scene::set("12").await;
    if scene.server.kind() == Kind::Synapse {
        return; // It counts it.
    }
    let largest = of_size(&scene, EVENT_LIMIT);
    let more = largest.tampered(|pdu| pdu["unsigned"] = json!({ "x": "x".repeat(10_000) }));
    scene.room.add(&largest);
    scene.deliver(&[&more]).await;
    let shown = scene.sees(&largest).await;
    assert_eq!(shown["unsigned"]["x"], Value::Null);
    scene.goes_on_without(&[]).await;
}

#[tokio::test]
async fn ids_may_have_255_bytes() {
    for version in VERSIONS {
        let mut scene = Scene::set(version).await;
        let emoji = "\u{1f600}".repeat(63) + "xyz";
        assert_eq!(emoji.len(), 255);
        let event = scene.room.draft(&scene.mallory, &emoji, json!({})).unwrap();
        scene.put_out(&event).await;
        let user = format!("@{}:{}", "u".repeat(253 - scene.peer.name.len()), scene.peer.name);
        assert_eq!(user.len(), 255);
        scene.put_out(&scene.room.member(&user, &user, "join").unwrap()).await;
        scene.put_out(&scene.room.message(&user, "a long name").unwrap()).await;
        scene.goes_on_without(&[]).await;
    }
}

/// Until room version 11 servers counted characters, not bytes, so rooms have such events.
#[tokio::test]
async fn what_follows_an_event_with_a_longer_state_key_is_accepted() {
    for version in ["1", "10"] {
        let mut scene = Scene::set(version).await;
        let key = "\u{1f600}".repeat(70);
        let long = scene.room.state_draft(&scene.mallory, "org.example.note", &key, json!({}));
        let long = scene.peer.put_in(&scene.room, &long.unwrap()).unwrap();
        // The state is not told, so that the long event has to be known.
        scene.peer.answer("state_ids", Reply::error(404, "M_NOT_FOUND"));
        scene.peer.answer("state", Reply::error(404, "M_NOT_FOUND"));
        scene.say("behind it").await;
        scene.goes_on_without(&[("280 bytes", long)]).await;
    }
}

#[tokio::test]
async fn newer_rooms_know_no_longer_state_key() {
    let mut scene = Scene::set("11").await;
    let key = "\u{1f600}".repeat(64);
    let long = scene.room.state_draft(&scene.mallory, "org.example.note", &key, json!({}));
    let long = scene.sealed(&long.unwrap());
    scene.deliver(&[&long]).await;
    scene.goes_on_without(&[("256 bytes", long)]).await;
}
