//! Random requests of a server that shares a room with ours, signed as they must be.

use futures_util::{StreamExt as _, stream};
use http::Method;
use rand::{RngExt as _, rngs::StdRng};
use serde_json::{Value, json};
use starling_conformance::evil::Event;

use super::{
    cases, complaint,
    endpoints::{self, Endpoint},
    generator, seed,
    values::{Known, no_object},
};
use crate::scene::{Scene, VERSIONS, assert_others_are_served};

/// How many endpoints are tried at a time.
const AT_A_TIME: usize = 4;

fn known(scene: &Scene) -> Known {
    let latest = scene.room.extremities();
    let create = scene.room.state_id("m.room.create", "").unwrap();
    let member = scene.room.state_id("m.room.member", &scene.mallory).unwrap();
    Known {
        rooms: vec![scene.room.id.clone()],
        events: [latest, vec![create, member]].concat(),
        users: vec![scene.mallory.clone(), scene.alice.id.clone(), scene.peer.user("newcomer")],
        servers: vec![scene.server.name().to_owned(), scene.peer.name.clone()],
        others: vec!["1".to_owned(), "transaction".to_owned()],
    }
}

/// An event that fits in but for a few of its parts; signed, so that the nonsense in it is judged.
fn event(rng: &mut StdRng, scene: &Scene, known: &Known) -> Value {
    let (room, mallory) = (&scene.room, &scene.mallory);
    let draft = match rng.random_range(0..6) {
        0 => room.member(mallory, &known.string(rng), "invite"),
        1 => room.member(&scene.peer.user("newcomer"), &scene.peer.user("newcomer"), "join"),
        2 => room.state_draft(mallory, "m.room.power_levels", "", json!({ "users": {} })),
        3 => {
            let content = json!({ "redacts": known.events[0], "reason": "x" });
            room.draft(mallory, "m.room.redaction", content)
        }
        4 => room.state_draft(mallory, &known.string(rng), "", known.object(rng, 3)),
        _ => room.message(mallory, "x"),
    };
    let draft = known.nearly(rng, &draft.unwrap());
    let sealed = Event::seal(&room.version, &draft, &scene.peer.name, &scene.peer.key);
    let pdu = sealed.map_or(draft, |event| event.pdu);
    match rng.random_ratio(1, 6) {
        true => known.nearly(rng, &pdu),
        false => pdu,
    }
}

/// An ephemeral message that fits but for a few of its parts.
fn edu(rng: &mut StdRng, scene: &Scene, known: &Known) -> Value {
    let (room, event, mallory) = (&scene.room.id, &known.events[0], &scene.mallory);
    let (kind, content) = match rng.random_range(0..5) {
        0 => ("m.typing", json!({ "room_id": room, "user_id": mallory, "typing": true })),
        1 => {
            let read = json!({ "data": { "ts": 1, "thread_id": "main" }, "event_ids": [event] });
            ("m.receipt", json!({ room: { "m.read": { mallory: read } } }))
        }
        2 => ("m.presence", json!({ "push": [{ "user_id": mallory, "presence": "online" }] })),
        3 => (
            "m.device_list_update",
            json!({ "user_id": mallory, "device_id": "A", "stream_id": 1 }),
        ),
        _ => (
            "m.direct_to_device",
            json!({ "sender": mallory, "type": "m.x", "message_id": "a",
                                            "messages": { scene.alice.id.clone(): { "*": {} } } }),
        ),
    };
    known.nearly(rng, &json!({ "edu_type": kind, "content": content }))
}

fn body(rng: &mut StdRng, endpoint: &Endpoint, scene: &Scene, known: &Known) -> Value {
    let path = &endpoint.path;
    let fitting = if path.contains("/v1/send/") {
        let pdus: Vec<Value> = (0..3).map(|_| event(rng, scene, known)).collect();
        let edus: Vec<Value> = (0..3).map(|_| edu(rng, scene, known)).collect();
        json!({ "origin": scene.peer.name, "origin_server_ts": 1, "pdus": pdus, "edus": edus })
    } else if path.contains("/v1/invite/") || path.contains("/send_") {
        event(rng, scene, known)
    } else if path.contains("/v2/invite/") {
        let event = event(rng, scene, known);
        json!({ "room_version": scene.room.version, "event": event, "invite_room_state": [] })
    } else {
        json!({
            "earliest_events": known.events, "latest_events": known.events, "limit": 5,
            "min_depth": 0, "filter": { "generic_search_term": "x" }, "since": "x",
        })
    };
    match rng.random_range(0..4) {
        0 => known.nearly(rng, &fitting),
        1 => known.object(rng, 4),
        _ => fitting,
    }
}

/// Tries one endpoint, and gives back what is to be complained about.
async fn attempts(scene: &Scene, seed: u64, number: usize, endpoint: Endpoint) -> Vec<String> {
    let mut rng = generator(seed, number);
    let known = known(scene);
    let mut complaints = Vec::new();
    let (peer, server) = (&scene.peer, scene.server);
    for case in 0..cases() {
        let mut target = endpoint.target(&mut rng, &known);
        target.push_str(&known.query(&mut rng));
        if endpoint.path.contains("/v1/send/") {
            // A transaction is answered once; each of these is to be one of its own.
            target = format!("/_matrix/federation/v1/send/{seed}-{case}");
        }
        let method = endpoint.method.clone();
        let with_body = method != Method::GET;
        let body = with_body.then(|| body(&mut rng, &endpoint, scene, &known));
        let answer = match rng.random_ratio(1, 20) && with_body {
            true => {
                let authorization = peer.key.authorization(
                    &peer.name,
                    server.name(),
                    method.as_str(),
                    &target,
                    None,
                );
                let request = peer
                    .builder(server, method, &target)
                    .header("Authorization", authorization.unwrap())
                    .header("Content-Type", "application/json")
                    .body(no_object(&mut rng));
                let status = request.send().await.unwrap().status().as_u16();
                assert!(status < 500, "{target}: {status} (seed {seed})");
                continue;
            }
            false => peer.request(server, method, &target, body.as_ref()).await.unwrap(),
        };
        let text = body.map(|body| body.to_string()).unwrap_or_default();
        complaints.extend(complaint(&answer, &text, seed));
    }
    complaints
}

#[tokio::test]
async fn no_request_of_a_server_makes_ours_fail() {
    let seed = seed();
    for version in VERSIONS {
        let mut scene = Scene::set(version).await;
        let endpoints = endpoints::of("federation").into_iter().enumerate();
        let complaints: Vec<Vec<String>> = stream::iter(endpoints)
            .map(|(number, endpoint)| attempts(&scene, seed, number, endpoint))
            .buffer_unordered(AT_A_TIME)
            .collect()
            .await;
        let complaints = complaints.concat();
        assert!(complaints.is_empty(), "version {version}: {}", complaints.join("\n"));
        assert_others_are_served(scene.server).await;
        scene.alice.say(&scene.room.id, "after all that").await.unwrap();
        scene.sync.poll(std::time::Duration::ZERO).await.unwrap();
    }
}
