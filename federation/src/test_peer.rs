//! Homeservers that tests talk to: an engine on a database of its own.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, Response};
use ruma::{OwnedServerName, RoomVersionId, ServerName};
use starling_engine::{
    Config, Engine, Parts,
    config::{PasswordHashing, Registration, RegistrationMode},
    keys::{SigningKeys, publish::key_document},
    remote::{Limits, Transport, TransportError},
};
use starling_storage::{Storage, storage::Options};
use tempfile::TempDir;

use crate::test_clock::ManualClock;

/// A homeserver without doors.
pub(crate) struct Peer {
    pub(crate) engine: Engine,
    _dir: TempDir,
}

/// A homeserver's parts before it has a way to others.
pub(crate) struct Unconnected {
    pub(crate) keys: Arc<SigningKeys>,
    name: OwnedServerName,
    storage: Storage,
    clock: Arc<ManualClock>,
    dir: TempDir,
}

impl Unconnected {
    pub(crate) async fn new(name: &str, clock: &Arc<ManualClock>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let options = Options {
            url: format!("sqlite:{}", dir.path().join("starling.db").display()),
            max_connections: 2,
            instance: "test".to_owned(),
        };
        let storage = Storage::open(options).await.unwrap();
        let keys = Arc::new(SigningKeys::load_or_create(&storage, &**clock).await.unwrap());
        Self { keys, name: name.try_into().unwrap(), storage, clock: clock.clone(), dir }
    }

    pub(crate) fn connect(self, transport: Arc<dyn Transport>) -> Peer {
        let config = Config {
            server_name: self.name,
            public_url: None,
            default_room_version: RoomVersionId::V12,
            registration: Registration { mode: RegistrationMode::Closed, shared_secret: None },
            password_hashing: PasswordHashing::default(),
        };
        let engine = Engine::new(Parts {
            config,
            storage: self.storage,
            clock: self.clock,
            transport,
            signing_keys: self.keys,
        });
        Peer { engine, _dir: self.dir }
    }
}

/// A network in which servers can read each other's keys and nothing else.
#[derive(Default)]
pub(crate) struct KeyNetwork {
    peers: Mutex<HashMap<OwnedServerName, Engine>>,
}

impl KeyNetwork {
    /// A homeserver in this network.
    pub(crate) async fn join(self: &Arc<Self>, name: &str, clock: &Arc<ManualClock>) -> Peer {
        let peer = Unconnected::new(name, clock).await.connect(self.clone());
        let name = peer.engine.config.server_name.clone();
        self.peers.lock().unwrap().insert(name, peer.engine.clone());
        peer
    }
}

impl KeyNetwork {
    /// The server is not reached any more.
    pub(crate) fn leave(&self, name: &str) {
        self.peers.lock().unwrap().retain(|peer, _| peer != name);
    }
}

#[async_trait]
impl Transport for KeyNetwork {
    async fn send(
        &self,
        destination: &ServerName,
        request: Request<Bytes>,
        _: Limits,
    ) -> Result<Response<Bytes>, TransportError> {
        assert_eq!(request.uri(), "/_matrix/key/v2/server");
        let peer = self.peers.lock().unwrap().get(destination).cloned();
        let peer = peer.ok_or_else(|| TransportError::Timeout { server: destination.into() })?;
        let document = serde_json::to_vec(&key_document(&peer).unwrap()).unwrap();
        Ok(Response::new(document.into()))
    }
}
