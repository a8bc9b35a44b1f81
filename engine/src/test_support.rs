//! Engines for tests: real storage in a temporary place, other servers in the same process.

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
};

use ruma::{OwnedEventId, OwnedUserId, RoomId, UserId, events::TimelineEventType};
use serde_json::{
    Map, Value, json,
    value::{RawValue, to_raw_value},
};
use starling_storage::Storage;

use crate::{
    Config, Engine, Parts,
    clock::Clock,
    events::store,
    keys::SigningKeys,
    remote::Transport,
    rooms::{
        create::{CreateRoom, Preset},
        room,
        send::Message,
    },
    state::store::{Secret, Snapshots},
    testing::{self, NoServers},
};

/// A clock that moves by one millisecond at each look.
#[derive(Debug)]
pub(crate) struct TestClock(AtomicI64);

impl Clock for TestClock {
    fn now_ms(&self) -> i64 {
        self.0.fetch_add(1, Ordering::Relaxed)
    }
}

/// The settings of a server in a test.
pub(crate) fn config(server_name: &str) -> Config {
    Config { cache_bytes: 16 << 20, ..testing::config(server_name.try_into().unwrap()) }
}

/// An engine on a database, with a transport.
pub(crate) async fn engine_on(
    storage: Storage,
    server_name: &str,
    transport: Arc<dyn Transport>,
) -> Engine {
    engine_with(storage, config(server_name), transport).await
}

/// An engine on a database, with settings and a transport.
pub(crate) async fn engine_with(
    storage: Storage,
    config: Config,
    transport: Arc<dyn Transport>,
) -> Engine {
    let clock = Arc::new(TestClock(AtomicI64::new(1_700_000_000_000)));
    let signing_keys = Arc::new(SigningKeys::load_or_create(&storage, &*clock).await.unwrap());
    let trie_secret = Secret::load(&storage).await.unwrap();
    let outside = Arc::new(crate::outside::Nothing);
    let blobs = starling_storage::blobs::Blobs::memory();
    Engine::new(Parts {
        config,
        storage,
        blobs,
        clock,
        transport,
        outside,
        signing_keys,
        trie_secret,
    })
}

/// Runs a test of one engine, `x.org`, which reaches no other server: on SQLite, and on PostgreSQL
/// when `STARLING_TEST_POSTGRES_URL` names one.
pub(crate) async fn on_each_database<F: Future<Output = ()>>(test: impl Fn(Engine) -> F) {
    let test = &test;
    let body = async |storage| test(engine_on(storage, "x.org", Arc::new(NoServers)).await).await;
    starling_storage::test_support::on_each_database(body).await.unwrap();
}

/// A user of the server of an engine.
pub(crate) fn user(engine: &Engine, localpart: &str) -> OwnedUserId {
    UserId::parse(format!("@{localpart}:{}", engine.config.server_name)).unwrap()
}

/// A room to be created, of which nothing special is wanted.
pub(crate) fn wanted_room(creator: &UserId, preset: Preset) -> CreateRoom {
    CreateRoom {
        creator: creator.to_owned(),
        version: None,
        preset,
        published: false,
        alias: None,
        name: None,
        topic: None,
        invite: vec![],
        is_direct: false,
        creation_content: Map::new(),
        initial_state: vec![],
        power_level_content_override: Map::new(),
    }
}

/// JSON as it is handed to the engine.
pub(crate) fn raw(value: Value) -> Box<RawValue> {
    to_raw_value(&value).unwrap()
}

/// A text message of a user.
pub(crate) fn text(room_id: &RoomId, sender: &UserId, body: &str) -> Message {
    Message {
        room_id: room_id.to_owned(),
        sender: sender.to_owned(),
        kind: TimelineEventType::RoomMessage,
        content: raw(json!({ "msgtype": "m.text", "body": body })),
        ts: None,
        transaction: None,
    }
}

/// The current state of a room, as `(type, state key, content)`, sorted.
pub(crate) async fn current_state(
    engine: &Engine,
    room_id: &RoomId,
) -> Vec<(String, String, Value)> {
    let mut conn = engine.storage.read().await.unwrap();
    let all = starling_storage::state::all_current(&mut conn, room_id.as_str()).await.unwrap();
    let room = room::load(engine, room_id).await.unwrap().unwrap();
    let snapshot = Snapshots::of(engine, room_id).entries(room.row.current_state).await.unwrap();
    assert_eq!(all.len(), snapshot.len(), "the table and the snapshot agree");
    let mut state = Vec::new();
    for (kind, state_key, event_id) in all {
        let event_id = OwnedEventId::try_from(event_id).unwrap();
        let event = store::get(engine, room_id, &event_id).await.unwrap().unwrap();
        let content = serde_json::from_str(event.pdu.content.get()).unwrap();
        state.push((kind, state_key, content));
    }
    state.sort_by_key(|(kind, state_key, _)| (kind.clone(), state_key.clone()));
    state
}

/// The types of the events in a room's timeline, oldest first.
pub(crate) async fn timeline(engine: &Engine, room_id: &RoomId) -> Vec<String> {
    let mut conn = engine.storage.read().await.unwrap();
    let newest =
        starling_storage::timeline::newest(&mut conn, room_id.as_str(), i64::MIN, i64::MAX, 1000);
    let ids = newest.await.unwrap().into_iter().rev().map(|entry| entry.event_id);
    let ids: Vec<String> = ids.collect();
    let events = starling_storage::events::get_many(&mut conn, room_id.as_str(), &ids).await;
    let kinds = events.unwrap().into_iter().map(|event| (event.event_id, event.kind));
    let kinds: std::collections::HashMap<_, _> = kinds.collect();
    ids.iter().filter_map(|id| kinds.get(id).cloned()).collect()
}
