//! Random requests of a client who is logged in and has a room.

use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use http::Method;
use rand::{RngExt as _, rngs::StdRng};
use serde_json::{Value, json};
use starling_conformance::{
    client::{PASSWORD, User, path},
    servers::Server,
};
use tokio::time::timeout;

use super::{
    cases, complaint,
    endpoints::{self, Endpoint},
    generator, seed,
    values::{Known, filter, no_object},
};
use crate::{scene::assert_others_are_served, support};

/// How many endpoints are tried at a time.
const AT_A_TIME: usize = 8;
/// More bytes than these are on their way for a while.
const LARGE: usize = 50_000;

/// Endpoints that wait for news: as long as they are told to, or some seconds.
const WAITING: [&str; 2] = ["/_matrix/client/v3/events", "/_matrix/client/v3/sync"];
/// How long somebody listens to them who has told them to wait.
const PATIENCE: Duration = Duration::from_secs(1);

/// A user in a room, and what random requests may name.
struct Stage {
    user: User,
    known: Known,
}

impl Stage {
    async fn set(server: &Server) -> Self {
        let (user, friend) = (support::user("nonsense").await, support::user("friend").await);
        let room = user.create_public_room().await.unwrap();
        friend.join(&room, &[]).await.unwrap();
        let said = user.say(&room, "something").await.unwrap();
        let joined = user.api.get(&path("/_matrix/client/v3/rooms/{}/state", &[&room])).await;
        let joined = joined.unwrap().ok().unwrap()[0]["event_id"].as_str().unwrap().to_owned();
        let sync = user.api.get("/_matrix/client/v3/sync").await.unwrap().ok().unwrap();
        let since = sync["next_batch"].as_str().unwrap().to_owned();
        let known = Known {
            rooms: vec![room],
            events: vec![said, joined],
            users: vec![user.id.clone(), friend.id.clone()],
            servers: vec![server.name().to_owned()],
            others: vec![
                since,
                user.device.clone(),
                "m.room.message".to_owned(),
                "m.room.name".to_owned(),
                "m.tag".to_owned(),
                "m.read".to_owned(),
                "displayname".to_owned(),
                "0".to_owned(),
            ],
        };
        Self { user, known }
    }
}

/// A body that the endpoint would take, for those that have one to speak of.
fn fitting(endpoint: &Endpoint, known: &Known) -> Option<Value> {
    let (user, friend) = (&known.users[0], &known.users[1]);
    let last = endpoint.path.rsplit('/').find(|piece| !piece.starts_with('{'))?;
    Some(match last {
        "createRoom" => json!({
            "preset": "public_chat", "name": "a", "topic": "b", "room_version": "11",
            "invite": [friend], "is_direct": true, "visibility": "private",
            "creation_content": { "m.federate": true, "type": "m.space" },
            "initial_state": [{ "type": "m.room.history_visibility", "state_key": "",
                                "content": { "history_visibility": "joined" } }],
            "power_level_content_override": { "users": { user: 100 }, "events": { "m.x": 5 } },
        }),
        "login" => json!({
            "type": "m.login.password", "identifier": { "type": "m.id.user", "user": user },
            "password": PASSWORD, "device_id": "A", "refresh_token": true,
        }),
        "register" => json!({
            "username": "nonsense", "password": "x", "device_id": "A", "refresh_token": true,
            "auth": { "type": "m.login.dummy", "session": "x" }, "nonce": "n", "mac": "m",
            "admin": false,
        }),
        "password" => json!({
            "new_password": PASSWORD, "logout_devices": false,
            "auth": { "type": "m.login.password", "password": PASSWORD,
                      "identifier": { "type": "m.id.user", "user": user } },
        }),
        "deactivate" | "delete_devices" | "devices" => json!({
            "erase": false, "devices": ["A"], "display_name": "x",
            "auth": { "type": "m.login.password", "session": "x", "password": "wrong",
                      "identifier": { "type": "m.id.user", "user": user } },
        }),
        "refresh" => json!({ "refresh_token": "x" }),
        "send" => json!({
            "msgtype": "m.text", "body": "x", "m.mentions": { "user_ids": [friend] },
            "m.relates_to": { "rel_type": "m.thread", "event_id": known.events[0] },
        }),
        "state" => json!({
            "membership": "invite", "join_rule": "public", "users": { friend: 50 }, "name": "x",
            "events_default": 0, "alias": "#a:b", "history_visibility": "shared",
            "allow": [{ "type": "m.room_membership", "room_id": known.rooms[0] }],
        }),
        "redact" | "leave" | "forget" => json!({ "reason": "x" }),
        "invite" | "kick" | "ban" | "unban" => json!({ "user_id": friend, "reason": "x" }),
        "join" | "knock" => json!({ "reason": "x", "third_party_signed": {
            "sender": user, "mxid": user, "token": "x", "signatures": {} } }),
        "filter" => filter(),
        "read_markers" => json!({ "m.fully_read": known.events[0], "m.read": known.events[0] }),
        "receipt" => json!({ "thread_id": "main" }),
        "typing" => json!({ "typing": true, "timeout": 1000 }),
        "tags" => json!({ "order": 0.5 }),
        "room" => json!({ "room_id": known.rooms[0], "visibility": "public" }),
        "publicRooms" => json!({
            "limit": 5, "filter": { "generic_search_term": "x", "room_types": [null, "m.space"] },
        }),
        "profile" => json!({ "displayname": "x", "avatar_url": "mxc://a/b" }),
        _ => return None,
    })
}

fn body(rng: &mut StdRng, endpoint: &Endpoint, known: &Known) -> Vec<u8> {
    let fitting = fitting(endpoint, known);
    match (rng.random_range(0..10), fitting) {
        (0, _) => no_object(rng),
        (1..8, Some(fitting)) => known.nearly(rng, &fitting).to_string().into_bytes(),
        (1..4, None) => b"{}".to_vec(),
        _ => known.object(rng, 4).to_string().into_bytes(),
    }
}

/// Tries one endpoint, and gives back what is to be complained about.
async fn attempts(server: &Server, seed: u64, number: usize, endpoint: Endpoint) -> Vec<String> {
    let mut rng = generator(seed, number);
    let mut stage = Stage::set(server).await;
    let mut complaints = Vec::new();
    for _ in 0..cases() {
        let Stage { user, known } = &stage;
        let mut target = endpoint.target(&mut rng, known);
        target.push_str(&known.query(&mut rng));
        let waits = WAITING.contains(&endpoint.path.as_str());
        if waits && !target.contains("timeout=") {
            target.push_str(if target.contains('?') { "&timeout=0" } else { "?timeout=0" });
        }
        let body = match endpoint.method {
            Method::GET => Vec::new(),
            _ => body(&mut rng, &endpoint, known),
        };
        let api = match rng.random_ratio(1, 20) {
            true => user.api.with_token("unknown"),
            false => user.api.clone(),
        };
        let (method, text) = (endpoint.method.clone(), String::from_utf8_lossy(&body).into_owned());
        let asking = api.raw(method, &target, "application/json", body);
        let answer = match waits {
            true => match timeout(PATIENCE, asking).await {
                Ok(answer) => answer,
                Err(_) => continue,
            },
            false => asking.await,
        };
        match answer {
            Ok(answer) => complaints.extend(complaint(&answer, &text, seed)),
            // Who is refused before the body was read may find the connection closed.
            Err(error) => assert!(text.len() > LARGE, "{error:?} (seed {seed})"),
        }
        // The request may have been one that ends the session.
        let whoami = user.api.get("/_matrix/client/v3/account/whoami").await.unwrap();
        if whoami.status != 200 {
            stage = Stage::set(server).await;
        }
    }
    complaints
}

#[tokio::test]
async fn no_request_of_a_client_makes_the_server_fail() {
    let (server, seed) = (support::server().await, seed());
    let endpoints = endpoints::of("client-api").into_iter().enumerate();
    let complaints: Vec<Vec<String>> = stream::iter(endpoints)
        .map(|(number, endpoint)| attempts(server, seed, number, endpoint))
        .buffer_unordered(AT_A_TIME)
        .collect()
        .await;
    let complaints = complaints.concat();
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
    assert_others_are_served(server).await;
}
