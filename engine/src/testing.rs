//! An engine on a temporary database, with a clock that stands still, for tests.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicI64, Ordering},
    },
};

use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, Response};
use ruma::{OwnedUserId, RoomVersionId, ServerName, UserId, server_name};
use serde_json::Value;
use starling_storage::{
    Change, Claim,
    accounts::{
        self,
        devices::{DeviceRow, Write},
    },
    blobs::Blobs,
    test_support::TempDatabase,
};
use url::Url;

use crate::{
    Config, Engine, Internal, Parts,
    accounts::{
        directory,
        tokens::{self, Issued},
    },
    clock::Clock,
    config::{PasswordHashing, Registration, RegistrationMode},
    keys::SigningKeys,
    outside::{FetchLimits, Fetched, Letter, Outside, OutsideError, ServiceError},
    remote::{Limits, Transport, TransportError},
    state::store::Secret,
};

/// When tests begin, in milliseconds.
pub const START_MS: i64 = 1_790_000_000_000;

/// A clock that tests move by hand.
#[derive(Debug)]
pub struct TestClock(AtomicI64);

impl Default for TestClock {
    fn default() -> Self {
        Self(START_MS.into())
    }
}

impl TestClock {
    /// Moves the clock.
    pub fn advance(&self, ms: i64) {
        self.0.fetch_add(ms, Ordering::SeqCst);
    }
}

impl Clock for TestClock {
    fn now_ms(&self) -> i64 {
        self.0.load(Ordering::SeqCst)
    }
}

/// The network of a deployment that is alone in the world.
#[derive(Clone, Copy, Debug)]
pub struct NoServers;

#[async_trait]
impl Transport for NoServers {
    async fn send(
        &self,
        destination: &ServerName,
        _: Request<Bytes>,
        _: Limits,
    ) -> Result<Response<Bytes>, TransportError> {
        let reason = "there are no other servers".to_owned();
        Err(TransportError::Discovery { server: destination.to_string(), reason })
    }
}

/// A mail server that keeps what it takes, captchas of which one answer is right, and application services
/// that answer what they are told to.
#[derive(Debug, Default)]
pub struct TestWorld {
    letters: Mutex<Vec<Letter>>,
    services: Mutex<Services>,
    gateway: Mutex<Gateway>,
}

#[derive(Debug, Default)]
struct Gateway {
    told: Vec<(Url, Value)>,
    answers: VecDeque<(u16, String)>,
}

#[derive(Debug, Default)]
struct Services {
    asked: Vec<Request<Bytes>>,
    answers: VecDeque<(u16, &'static str)>,
}

impl TestWorld {
    /// The answer that solves every captcha.
    pub const SOLVED: &str = "solved";

    /// Takes the letters that have come in.
    pub fn letters(&self) -> Vec<Letter> {
        std::mem::take(&mut self.letters.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// What application services answer next, of status and body; the status 0 is no answer. Without
    /// further answers all is well.
    pub fn answer(&self, answers: impl IntoIterator<Item = (u16, &'static str)>) {
        let mut services = self.services.lock().unwrap_or_else(PoisonError::into_inner);
        services.answers.extend(answers);
    }

    /// What push gateways answer next, of status and body; the status 0 is no answer. Without further
    /// answers nothing is rejected.
    pub fn answer_as_gateway(&self, answers: impl IntoIterator<Item = (u16, String)>) {
        let mut gateway = self.gateway.lock().unwrap_or_else(PoisonError::into_inner);
        gateway.answers.extend(answers);
    }

    /// Takes what push gateways have been told, and where.
    pub fn told(&self) -> Vec<(Url, Value)> {
        let mut gateway = self.gateway.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut gateway.told)
    }

    /// Takes what application services have been asked.
    pub fn asked(&self) -> Vec<Request<Bytes>> {
        let mut services = self.services.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut services.asked)
    }
}

#[async_trait]
impl Outside for TestWorld {
    async fn send_letter(&self, letter: Letter) -> Result<(), OutsideError> {
        if letter.to.ends_with("@refused.example") {
            return Err(OutsideError("as the test wants it".to_owned()));
        }
        self.letters.lock().unwrap_or_else(PoisonError::into_inner).push(letter);
        Ok(())
    }

    async fn is_captcha_solved(&self, response: String) -> Result<bool, OutsideError> {
        Ok(response == Self::SOLVED)
    }

    async fn fetch(&self, _: &Url, _: FetchLimits) -> Result<Fetched, OutsideError> {
        Err(OutsideError("there is no web in this test".to_owned()))
    }

    async fn notify_gateway(
        &self,
        url: &Url,
        body: Bytes,
        _: Limits,
    ) -> Result<Response<Bytes>, OutsideError> {
        let mut gateway = self.gateway.lock().unwrap_or_else(PoisonError::into_inner);
        gateway.told.push((url.clone(), serde_json::from_slice(&body).unwrap_or_default()));
        let answer = gateway.answers.pop_front();
        let (status, body) = answer.unwrap_or((200, r#"{"rejected":[]}"#.to_owned()));
        if status == 0 {
            return Err(OutsideError("as the test wants it".to_owned()));
        }
        let response = Response::builder().status(status).body(Bytes::from(body));
        response.map_err(|error| OutsideError(error.to_string()))
    }

    async fn ask_service(
        &self,
        request: Request<Bytes>,
        _: Limits,
    ) -> Result<Response<Bytes>, ServiceError> {
        let mut services = self.services.lock().unwrap_or_else(PoisonError::into_inner);
        let answer = services.answers.pop_front();
        services.asked.push(request);
        let (status, body) = answer.unwrap_or((200, "{}"));
        if status == 0 {
            return Err(ServiceError::Failed("as the test wants it".to_owned()));
        }
        let response = Response::builder().status(status).body(Bytes::from_static(body.as_bytes()));
        response.map_err(|error| ServiceError::Failed(error.to_string()))
    }
}

/// An engine of the server `test`, with what it stands on.
#[derive(Debug)]
pub struct TestEngine {
    /// The engine.
    pub engine: Engine,
    /// Its clock.
    pub clock: Arc<TestClock>,
    /// Its mail server and captchas.
    pub world: Arc<TestWorld>,
    database: TempDatabase,
}

/// Settings of a server with that name on which everybody may register, and on which hashing
/// passwords is cheap.
#[must_use]
pub fn config(server_name: &ServerName) -> Config {
    Config {
        server_name: server_name.to_owned(),
        public_url: None,
        default_room_version: RoomVersionId::V12,
        registration: Registration {
            mode: RegistrationMode::Open,
            guests: false,
            shared_secret: None,
        },
        forget_upon_leave: false,
        email: None,
        password_hashing: PasswordHashing { memory_kib: 64, iterations: 1 },
        trusted_notaries: Vec::new(),
        presence: crate::config::Presence::default(),
        user_directory: crate::config::UserDirectory::default(),
        profiles: crate::config::Profiles::default(),
        server_notices: None,
        retention: crate::config::Retention::default(),
        media: crate::config::Media::default(),
        push: crate::config::Push::default(),
        delayed_events: crate::config::DelayedEvents::default(),
        appservices: crate::appservices::ApplicationServices::default(),
        cache_bytes: 1 << 20,
    }
}

impl TestEngine {
    /// An engine on SQLite, alone in the world.
    ///
    /// # Errors
    ///
    /// When no database can be made.
    pub async fn new() -> Result<Self, Internal> {
        Self::with(config(server_name!("test"))).await
    }

    /// An engine on SQLite with those settings, alone in the world.
    ///
    /// # Errors
    ///
    /// When no database can be made.
    pub async fn with(config: Config) -> Result<Self, Internal> {
        Self::on(TempDatabase::sqlite()?, config, Arc::new(NoServers)).await
    }

    /// Every byte that the database has on disk (SQLite only).
    ///
    /// # Errors
    ///
    /// When the files cannot be read.
    pub fn stored_bytes(&self) -> std::io::Result<Vec<u8>> {
        let path = self.database.url.strip_prefix("sqlite:").unwrap_or_default();
        let mut bytes = std::fs::read(path)?;
        bytes.extend(std::fs::read(format!("{path}-wal"))?);
        Ok(bytes)
    }

    /// An engine on that database with those settings and that network.
    ///
    /// # Errors
    ///
    /// When the database cannot be opened.
    pub async fn on(
        database: TempDatabase,
        config: Config,
        transport: Arc<dyn Transport>,
    ) -> Result<Self, Internal> {
        Self::connected(database, config, Arc::default(), |_| transport).await
    }

    /// The same with a clock that others have too and a network that signs with the engine's keys.
    ///
    /// # Errors
    ///
    /// When the database cannot be opened.
    pub async fn connected(
        database: TempDatabase,
        config: Config,
        clock: Arc<TestClock>,
        transport: impl FnOnce(&Arc<SigningKeys>) -> Arc<dyn Transport>,
    ) -> Result<Self, Internal> {
        let storage = database.open().await?;
        let signing_keys = SigningKeys::load_or_create(&storage, &*clock)
            .await
            .map_err(|error| Internal::Damaged(error.to_string()))?;
        let signing_keys = Arc::new(signing_keys);
        let trie_secret = Secret::load(&storage).await?;
        let world = Arc::new(TestWorld::default());
        let engine = Engine::new(Parts {
            config,
            storage,
            blobs: Blobs::memory(),
            clock: clock.clone(),
            transport: transport(&signing_keys),
            outside: world.clone(),
            signing_keys,
            trie_secret,
        });
        Ok(Self { engine, clock, world, database })
    }

    /// The same deployment after a restart: nothing is in memory.
    ///
    /// # Errors
    ///
    /// When the database cannot be opened again.
    pub async fn restarted(self) -> Result<Self, Internal> {
        let Self { engine, clock, database, .. } = self;
        engine.shutdown.cancel();
        engine.storage.close().await;
        let (config, transport) = (engine.config.clone(), engine.transport.clone());
        Self::connected(database, config, clock, |_| transport).await
    }

    /// Makes an account without a password, with the device `DEVICE` and its tokens.
    ///
    /// # Errors
    ///
    /// When the name is taken or not a name.
    pub async fn user(&self, localpart: &str) -> Result<(OwnedUserId, Issued), Internal> {
        let engine = &self.engine;
        let user = UserId::parse_with_server_name(localpart, &engine.config.server_name)
            .map_err(|error| Internal::Damaged(error.to_string()))?;
        let mut change = Change::new();
        change.claim(Claim::NewUser(accounts::UserRow {
            user_id: user.to_string(),
            created_ts: engine.clock.now_ms(),
            ..accounts::UserRow::default()
        }));
        directory::follow::name(&mut change, &user, None);
        change.write(accounts::Write::Device(Write::Add(DeviceRow {
            user_id: user.to_string(),
            device_id: "DEVICE".to_owned(),
            created_ts: engine.clock.now_ms(),
            ..DeviceRow::default()
        })));
        let issued = tokens::issue(engine, &mut change, &user, "DEVICE".into(), false);
        engine.storage.commit(change).await?;
        Ok((user, issued))
    }

    /// Closes and removes the database.
    ///
    /// # Errors
    ///
    /// When the database server refuses.
    pub async fn remove(self) -> Result<(), Internal> {
        self.engine.storage.close().await;
        self.database.remove().await?;
        Ok(())
    }
}

/// Runs a test on an engine of the server `test` on every kind of database that this machine has.
///
/// # Errors
///
/// When a database cannot be made, opened or removed.
pub async fn on_each_database<F: Future<Output = TestEngine>>(
    test: impl Fn(TestEngine) -> F,
) -> Result<(), Internal> {
    on_each_database_with(config(server_name!("test")), test).await
}

/// The same with those settings.
///
/// # Errors
///
/// As [`on_each_database`].
pub async fn on_each_database_with<F: Future<Output = TestEngine>>(
    config: Config,
    test: impl Fn(TestEngine) -> F,
) -> Result<(), Internal> {
    for database in TempDatabase::all().await? {
        let engine = TestEngine::on(database, config.clone(), Arc::new(NoServers)).await?;
        test(engine).await.remove().await?;
    }
    Ok(())
}
