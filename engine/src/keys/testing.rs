//! Keys, a database, and a transport that serves key documents, for tests.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicI64, AtomicUsize, Ordering},
    },
};

use async_trait::async_trait;
use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use bytes::Bytes;
use ed25519_dalek::pkcs8::ALGORITHM_OID;
use http::{Request, Response};
use ruma::{RoomVersionId, ServerName, signatures::Ed25519KeyPair};
use starling_storage::{
    Change, Storage,
    federation::{ServerKeyRow, Write},
    storage::Options,
};
use tempfile::TempDir;

use super::SigningKeys;
use crate::{
    Config, Engine, Parts,
    clock::Clock,
    config::{PasswordHashing, Registration, RegistrationMode},
    remote::{Limits, Transport, TransportError},
    state::store::Secret,
};

/// When tests begin, in milliseconds.
pub(crate) const NOW: i64 = 1_790_000_000_000;

/// An engine whose other servers are a table of key documents.
pub(crate) struct Setup {
    pub(crate) engine: Engine,
    pub(crate) servers: Arc<Servers>,
    pub(crate) clock: Arc<TestClock>,
    _dir: TempDir,
}

impl Setup {
    /// An engine on a database that `prepare` wrote to.
    pub(crate) async fn new(prepare: impl AsyncFnOnce(&Storage)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let storage = open(&dir).await;
        prepare(&storage).await;
        let servers = Arc::<Servers>::default();
        let clock = Arc::new(TestClock(NOW.into()));
        let signing_keys = SigningKeys::load_or_create(&storage, &*clock).await.unwrap();
        let engine = engine(storage, signing_keys, &servers, &clock).await;
        Self { engine, servers, clock, _dir: dir }
    }

    /// The same deployment after a restart: nothing is in memory.
    pub(crate) async fn restarted(&self) -> Engine {
        let storage = self.engine.storage.clone();
        let signing_keys = SigningKeys::load_or_create(&storage, &*self.clock).await.unwrap();
        engine(storage, signing_keys, &self.servers, &self.clock).await
    }
}

async fn engine(
    storage: Storage,
    signing_keys: SigningKeys,
    servers: &Arc<Servers>,
    clock: &Arc<TestClock>,
) -> Engine {
    Engine::new(Parts {
        config: Config {
            server_name: "us.example".try_into().unwrap(),
            public_url: None,
            default_room_version: RoomVersionId::V12,
            registration: Registration { mode: RegistrationMode::Closed, shared_secret: None },
            password_hashing: PasswordHashing::default(),
            cache_bytes: 1 << 20,
        },
        trie_secret: Secret::load(&storage).await.unwrap(),
        storage,
        clock: clock.clone(),
        transport: servers.clone(),
        signing_keys: Arc::new(signing_keys),
    })
}

/// A clock that tests move by hand.
#[derive(Debug)]
pub(crate) struct TestClock(AtomicI64);

impl TestClock {
    pub(crate) fn advance(&self, ms: i64) {
        self.0.fetch_add(ms, Ordering::SeqCst);
    }
}

impl Clock for TestClock {
    fn now_ms(&self) -> i64 {
        self.0.load(Ordering::SeqCst)
    }
}

/// Other servers, by what they publish; they count how often they are asked.
#[derive(Default)]
pub(crate) struct Servers {
    documents: Mutex<HashMap<String, String>>,
    asked: AtomicUsize,
}

impl Servers {
    pub(crate) fn publish(&self, server: &str, document: String) {
        self.documents.lock().unwrap().insert(server.to_owned(), document);
    }

    pub(crate) fn vanish(&self, server: &str) {
        self.documents.lock().unwrap().remove(server);
    }

    pub(crate) fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

#[async_trait]
impl Transport for Servers {
    async fn send(
        &self,
        destination: &ServerName,
        request: Request<Bytes>,
        _: Limits,
    ) -> Result<Response<Bytes>, TransportError> {
        assert_eq!(request.uri(), "/_matrix/key/v2/server");
        self.asked.fetch_add(1, Ordering::SeqCst);
        // Gives other tasks the chance to ask meanwhile.
        tokio::task::yield_now().await;
        let document = self.documents.lock().unwrap().get(destination.as_str()).cloned();
        document
            .map(|document| Response::new(document.into()))
            .ok_or_else(|| TransportError::Timeout { server: destination.to_string() })
    }
}

/// The same seed gives the same key.
pub(crate) fn pair(seed: u8, version: &str) -> Ed25519KeyPair {
    Ed25519KeyPair::new(ALGORITHM_OID, &[seed; 32], None, version.to_owned()).unwrap()
}

/// The public half of the key of that seed, in base64.
pub(crate) fn encoded(seed: u8) -> String {
    STANDARD_NO_PAD.encode(pair(seed, "x").public_key())
}

/// A database in `dir`.
pub(crate) async fn open(dir: &TempDir) -> Storage {
    Storage::open(Options {
        url: format!("sqlite:{}", dir.path().join("starling.db").display()),
        max_connections: 2,
        instance: "test".to_owned(),
    })
    .await
    .unwrap()
}

/// Stores a signing key.
pub(crate) async fn write_key(
    storage: &Storage,
    key_id: &str,
    seed: u8,
    created_ts: i64,
    expired_ts: Option<i64>,
) {
    let mut change = Change::new();
    change.write(Write::ServerKey(ServerKeyRow {
        key_id: key_id.to_owned(),
        secret: Some(vec![seed; 32]),
        public_key: encoded(seed),
        created_ts,
        expired_ts,
    }));
    storage.commit(change).await.unwrap();
}
