//! The truth: what the peer answers to other servers when no script says otherwise.

use serde_json::{Value, json};

use super::{Peer, event::Event, room::Room, room::references, script::Received, script::Reply};

/// Enough for every room of a test.
const HISTORY_LIMIT: usize = 500;
/// Ample: a key document is fetched again when a test runs longer.
const KEY_LIFE_MS: u64 = 24 * 60 * 60 * 1000;

/// The answer to a request for one of the endpoints that a room on two servers needs.
pub(super) fn answer(peer: &Peer, request: &Received) -> Reply {
    let pieces: Vec<&str> = request.pieces.iter().map(String::as_str).collect();
    let found = match pieces.as_slice() {
        ["_matrix", "key", "v2", "server", ..] => key_document(peer),
        ["_matrix", "federation", "v1", "version"] => {
            Some(json!({ "server": { "name": "evil", "version": "0" } }))
        }
        ["_matrix", "federation", _, "send", _] => Some(take_transaction(peer, &request.body)),
        ["_matrix", "federation", _, "make_join", room, user] => template(peer, room, user, "join"),
        ["_matrix", "federation", _, "make_leave", room, user] => {
            template(peer, room, user, "leave")
        }
        ["_matrix", "federation", "v2", "send_join", room, _] => {
            accept_join(peer, room, &request.body)
        }
        ["_matrix", "federation", "v2", "send_leave", room, _] => {
            accept(peer, room, &request.body).map(|_| json!({}))
        }
        ["_matrix", "federation", "v2", "invite", _, _] => accept_invite(peer, &request.body),
        ["_matrix", "federation", "v1", rest @ ..] => history(peer, rest, request),
        _ => None,
    };
    found.map_or_else(|| Reply::error(404, "M_NOT_FOUND"), Reply::ok)
}

fn key_document(peer: &Peer) -> Option<Value> {
    peer.key.document(&peer.name, super::room::now() + KEY_LIFE_MS).ok()
}

fn history(peer: &Peer, pieces: &[&str], request: &Received) -> Option<Value> {
    let at = |room: &Room| {
        room.state_before(request.parameters("event_id").first().map_or("", String::as_str))
    };
    match pieces {
        ["event", id] => peer.find_event(id).map(|event| transaction(peer, &[event])),
        ["state", room] => peer.hosted(room).map(|room| {
            let state = at(&room);
            json!({ "pdus": pdus(&state), "auth_chain": pdus(&room.auth_chain(&state)) })
        }),
        ["state_ids", room] => peer.hosted(room).map(|room| {
            let state = at(&room);
            json!({ "pdu_ids": ids(&state), "auth_chain_ids": ids(&room.auth_chain(&state)) })
        }),
        ["event_auth", room, id] => peer.hosted(room).map(|room| {
            let chain = room.event(id).map(|event| room.auth_chain([&event])).unwrap_or_default();
            json!({ "auth_chain": pdus(&chain) })
        }),
        ["backfill", room] => peer.hosted(room).map(|room| {
            transaction(peer, &room.history(&request.parameters("v"), &[], HISTORY_LIMIT))
        }),
        ["get_missing_events", room] => peer.hosted(room).map(|room| {
            let latest = references(&request.body["latest_events"]);
            let earliest = references(&request.body["earliest_events"]);
            let mut events = room.history(&latest, &earliest, HISTORY_LIMIT);
            events.retain(|event| !latest.contains(&event.id));
            events.reverse();
            json!({ "events": pdus(&events) })
        }),
        ["query", "profile"] => Some(json!({ "displayname": "Mallory" })),
        ["user", "devices", user] => {
            Some(json!({ "user_id": user, "stream_id": 1, "devices": [] }))
        }
        ["user", "keys", "query"] => Some(json!({ "device_keys": {} })),
        ["user", "keys", "claim"] => Some(json!({ "one_time_keys": {} })),
        _ => None,
    }
}

fn take_transaction(peer: &Peer, body: &Value) -> Value {
    for pdu in body["pdus"].as_array().into_iter().flatten() {
        let room = pdu["room_id"].as_str().and_then(|id| peer.hosted(id));
        if let Some(room) = room
            && let Ok(event) = Event::received(&room.version, pdu)
        {
            room.add(&event);
        }
    }
    json!({ "pdus": {} })
}

fn template(peer: &Peer, room: &str, user: &str, membership: &str) -> Option<Value> {
    let room = peer.hosted(room)?;
    let event = room.member(user, user, membership).ok()?;
    Some(json!({ "room_version": room.version, "event": event }))
}

fn accept(peer: &Peer, room: &str, body: &Value) -> Option<(Room, Event)> {
    let room = peer.hosted(room)?;
    let event = Event::received(&room.version, body).ok()?;
    room.add(&event);
    Some((room, event))
}

fn accept_join(peer: &Peer, room: &str, body: &Value) -> Option<Value> {
    let (room, event) = accept(peer, room, body)?;
    let state = room.state_before(&event.id);
    let chain = room.auth_chain(state.iter().chain([&event]));
    Some(json!({
        "event": event.pdu,
        "state": pdus(&state),
        "auth_chain": pdus(&chain),
        "origin": peer.name,
        "members_omitted": false,
    }))
}

/// Signs the invitation for the invited user and gives it back.
fn accept_invite(peer: &Peer, body: &Value) -> Option<Value> {
    let version = body["room_version"].as_str()?;
    let sealed = Event::seal(version, &body["event"], &peer.name, &peer.key).ok()?;
    let mut event = body["event"].clone();
    event["signatures"][&peer.name] = sealed.pdu["signatures"][&peer.name].clone();
    Some(json!({ "event": event }))
}

fn transaction(peer: &Peer, events: &[Event]) -> Value {
    json!({ "origin": peer.name, "origin_server_ts": super::room::now(), "pdus": pdus(events) })
}

fn pdus(events: &[Event]) -> Value {
    events.iter().map(|event| event.pdu.clone()).collect()
}

fn ids(events: &[Event]) -> Value {
    events.iter().map(|event| event.id.clone()).collect()
}
