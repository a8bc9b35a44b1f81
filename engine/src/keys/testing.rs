//! Keys, a database, and a transport that serves key documents, for tests.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use async_trait::async_trait;
use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use bytes::Bytes;
use ed25519_dalek::pkcs8::ALGORITHM_OID;
use http::{Request, Response};
use ruma::{
    CanonicalJsonObject, ServerName, server_name,
    signatures::{Ed25519KeyPair, sign_json},
};
use serde_json::json;
use starling_storage::{
    Change, Storage,
    federation::{ServerKeyRow, Write},
    test_support::TempDatabase,
};

use crate::{
    remote::{Limits, Transport, TransportError},
    testing::{TestEngine, config},
};

/// An engine `us.example` on a database that `prepare` wrote to, and its other servers.
pub(crate) async fn setup(prepare: impl AsyncFnOnce(&Storage)) -> (TestEngine, Arc<Servers>) {
    setup_trusting(&[], prepare).await
}

/// As [`setup`], with notaries that the engine trusts.
pub(crate) async fn setup_trusting(
    notaries: &[&ServerName],
    prepare: impl AsyncFnOnce(&Storage),
) -> (TestEngine, Arc<Servers>) {
    let database = TempDatabase::sqlite().unwrap();
    let storage = database.open().await.unwrap();
    prepare(&storage).await;
    storage.close().await;
    let servers = Arc::<Servers>::default();
    let mut config = config(server_name!("us.example"));
    config.trusted_notaries = notaries.iter().map(|&notary| notary.to_owned()).collect();
    (TestEngine::on(database, config, servers.clone()).await.unwrap(), servers)
}

/// Other servers, by what they publish; they count how often they are asked.
#[derive(Default)]
pub(crate) struct Servers {
    documents: Mutex<HashMap<String, String>>,
    notaries: Mutex<HashMap<String, Vec<String>>>,
    asked: AtomicUsize,
}

impl Servers {
    pub(crate) fn publish(&self, server: &str, document: String) {
        self.documents.lock().unwrap().insert(server.to_owned(), document);
    }

    /// From now on a notary answers every query with these documents.
    pub(crate) fn vouch(&self, notary: &str, documents: Vec<String>) {
        self.notaries.lock().unwrap().insert(notary.to_owned(), documents);
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
        self.asked.fetch_add(1, Ordering::SeqCst);
        // Gives other tasks the chance to ask meanwhile.
        tokio::task::yield_now().await;
        let server = destination.as_str();
        let answer = match request.uri().path() {
            "/_matrix/key/v2/server" => self.documents.lock().unwrap().get(server).cloned(),
            "/_matrix/key/v2/query" => {
                let documents = self.notaries.lock().unwrap().get(server).cloned();
                documents.map(|all| format!("{{\"server_keys\":[{}]}}", all.join(",")))
            }
            other => panic!("nobody asks for {other}"),
        };
        answer
            .map(|document| Response::new(document.into()))
            .ok_or_else(|| TransportError::Timeout { server: destination.to_string() })
    }
}

/// The document of a server with the keys of these seeds, signed by them.
pub(crate) fn document(server: &str, seeds: &[u8], valid_until_ms: i64) -> String {
    let keys: BTreeMap<_, _> = seeds
        .iter()
        .map(|seed| (format!("ed25519:{seed}"), json!({ "key": encoded(*seed) })))
        .collect();
    let document = json!({
        "server_name": server, "valid_until_ts": valid_until_ms, "verify_keys": keys,
    });
    let document = serde_json::to_string(&document).unwrap();
    seeds.iter().fold(document, |document, seed| signed(&document, server, *seed))
}

/// The document with a signature more.
pub(crate) fn signed(document: &str, server: &str, seed: u8) -> String {
    let mut object: CanonicalJsonObject = serde_json::from_str(document).unwrap();
    sign_json(server, &pair(seed, &seed.to_string()), &mut object).unwrap();
    serde_json::to_string(&object).unwrap()
}

/// The same seed gives the same key.
pub(crate) fn pair(seed: u8, version: &str) -> Ed25519KeyPair {
    Ed25519KeyPair::new(ALGORITHM_OID, &[seed; 32], None, version.to_owned()).unwrap()
}

/// The public half of the key of that seed, in base64.
pub(crate) fn encoded(seed: u8) -> String {
    STANDARD_NO_PAD.encode(pair(seed, "x").public_key())
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
