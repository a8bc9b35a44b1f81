//! Engines for tests: real storage in a temporary place, other servers in the same process.

use std::{
    collections::HashMap,
    future::Future,
    sync::{
        Arc, Mutex,
        atomic::{AtomicI64, Ordering},
    },
};

use async_trait::async_trait;
use bytes::Bytes;
use ruma::{OwnedServerName, OwnedUserId, ServerName, UserId};
use starling_storage::Storage;

use crate::{
    Config, Engine, Parts,
    clock::Clock,
    config::{PasswordHashing, Registration, RegistrationMode},
    keys::SigningKeys,
    remote::{Limits, Transport, TransportError},
    rooms::versions,
    state::store::Secret,
};

/// A clock that moves by one millisecond at each look.
#[derive(Debug)]
pub(crate) struct TestClock(AtomicI64);

impl Clock for TestClock {
    fn now_ms(&self) -> i64 {
        self.0.fetch_add(1, Ordering::Relaxed)
    }
}

type Answer = dyn Fn(http::Request<Bytes>) -> http::Response<Bytes> + Send + Sync;

/// Other servers, by name. A server without an entry cannot be reached.
#[derive(Clone, Default)]
pub(crate) struct TestTransport(Arc<Mutex<HashMap<OwnedServerName, Arc<Answer>>>>);

impl TestTransport {
    /// Answers requests to a server by a function.
    pub(crate) fn serve(
        &self,
        server: &ServerName,
        answer: impl Fn(http::Request<Bytes>) -> http::Response<Bytes> + Send + Sync + 'static,
    ) {
        self.0.lock().unwrap().insert(server.to_owned(), Arc::new(answer));
    }
}

#[async_trait]
impl Transport for TestTransport {
    async fn send(
        &self,
        destination: &ServerName,
        request: http::Request<Bytes>,
        _: Limits,
    ) -> Result<http::Response<Bytes>, TransportError> {
        let answer = self.0.lock().unwrap().get(destination).cloned();
        let refused = || TransportError::Network {
            server: destination.to_string(),
            reason: "there is no such server".to_owned(),
        };
        Ok(answer.ok_or_else(refused)?(request))
    }
}

/// The settings of a server in a test.
pub(crate) fn config(server_name: &str) -> Config {
    Config {
        server_name: server_name.try_into().unwrap(),
        public_url: None,
        default_room_version: versions::DEFAULT,
        registration: Registration { mode: RegistrationMode::Open, shared_secret: None },
        password_hashing: PasswordHashing { memory_kib: 64, iterations: 1 },
        cache_bytes: 16 << 20,
    }
}

/// An engine on a database, with a transport.
pub(crate) async fn engine_on(
    storage: Storage,
    server_name: &str,
    transport: TestTransport,
) -> Engine {
    let clock = Arc::new(TestClock(AtomicI64::new(1_700_000_000_000)));
    let signing_keys = Arc::new(SigningKeys::load_or_create(&storage, &*clock).await.unwrap());
    let trie_secret = Secret::load(&storage).await.unwrap();
    let (config, transport) = (config(server_name), Arc::new(transport));
    Engine::new(Parts { config, storage, clock, transport, signing_keys, trie_secret })
}

/// Runs a test of one engine, `x.org`, which reaches no other server: on SQLite, and on PostgreSQL
/// when `STARLING_TEST_POSTGRES_URL` names one.
pub(crate) async fn on_each_database<F: Future<Output = ()>>(test: impl Fn(Engine) -> F) {
    let test = &test;
    let body =
        async |storage| test(engine_on(storage, "x.org", TestTransport::default()).await).await;
    starling_storage::test_support::on_each_database(body).await.unwrap();
}

/// A user of the server of an engine.
pub(crate) fn user(engine: &Engine, localpart: &str) -> OwnedUserId {
    UserId::parse(format!("@{localpart}:{}", engine.config.server_name)).unwrap()
}
