//! Homeservers that tests talk to.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, Response};
use ruma::{OwnedServerName, ServerName};
use starling_engine::{
    Engine,
    keys::{SigningKeys, publish::key_document},
    remote::{Limits, Transport, TransportError},
    testing::{TestClock, TestEngine, config},
};
use starling_storage::test_support::TempDatabase;

/// A homeserver without doors, on a database of its own.
pub(crate) async fn peer(
    name: &str,
    clock: &Arc<TestClock>,
    transport: impl FnOnce(&Arc<SigningKeys>) -> Arc<dyn Transport>,
) -> TestEngine {
    let config = config(<&ServerName>::try_from(name).unwrap());
    let database = TempDatabase::sqlite().unwrap();
    TestEngine::connected(database, config, clock.clone(), transport).await.unwrap()
}

/// A network in which servers can read each other's keys and nothing else.
#[derive(Default)]
pub(crate) struct KeyNetwork {
    peers: Mutex<HashMap<OwnedServerName, Engine>>,
}

impl KeyNetwork {
    /// A homeserver in this network.
    pub(crate) async fn join(self: &Arc<Self>, name: &str, clock: &Arc<TestClock>) -> TestEngine {
        let network: Arc<dyn Transport> = self.clone();
        let peer = peer(name, clock, |_| network).await;
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
