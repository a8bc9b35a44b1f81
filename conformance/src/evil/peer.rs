//! The peer itself: its name and key, its scripts, what it received, and its own requests.

use std::{
    collections::BTreeMap,
    net::TcpListener,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use http::Method;
use serde_json::{Value, json};

use super::{
    event::Event,
    json::render,
    key::Key,
    listen::{Listening, listen},
    room::Room,
    script::{Received, Reply, Scripts},
};
use crate::{
    client::{Answer, path},
    random,
    servers::{Server, TestCa, ports},
};

/// How long the peer waits for an answer; long enough for a server that first asks the peer.
const REQUEST_LIMIT: Duration = Duration::from_secs(60);
/// How long [`Peer::received`] waits for a request to come.
const PATIENCE: Duration = Duration::from_secs(30);

/// A server of a test's own. Clones are the same server; it ends with the last of them.
#[derive(Clone, Debug)]
pub struct Peer {
    /// The server name, `localhost:PORT`.
    pub name: String,
    /// The key that it publishes and signs with.
    pub key: Key,
    http: reqwest::Client,
    shared: Arc<Mutex<Shared>>,
    /// The handler's own clone has none, or the peer would keep itself alive.
    _listening: Option<Arc<Listening>>,
}

#[derive(Debug, Default)]
struct Shared {
    rooms: BTreeMap<String, Room>,
    scripts: Scripts,
    received: Vec<Received>,
}

impl Peer {
    /// Starts a peer on a free port, with a certificate of this authority.
    pub async fn start(ca: &TestCa) -> Result<Self> {
        Self::start_as(ca, &[]).await
    }

    /// As [`Peer::start`], to be reached under further host names too.
    pub async fn start_as(ca: &TestCa, hosts: &[&str]) -> Result<Self> {
        let port = ports::free()?;
        let listener = TcpListener::bind(ports::loopback(port))?;
        let authority = reqwest::Certificate::from_pem(ca.certificate().as_bytes())?;
        let http = reqwest::Client::builder()
            .no_proxy()
            .tls_certs_only([authority])
            .redirect(reqwest::redirect::Policy::none())
            .timeout(REQUEST_LIMIT)
            .build()?;
        let mut peer = Self {
            name: format!("localhost:{port}"),
            key: Key::new()?,
            http,
            shared: Arc::default(),
            _listening: None,
        };
        let hosts: Vec<&str> = ["localhost", "127.0.0.1"].iter().chain(hosts).copied().collect();
        let certificate = ca.certificate_for(&hosts)?;
        peer._listening = Some(Arc::new(listen(peer.clone(), listener, certificate)?));
        Ok(peer)
    }

    /// The port at which it is reached on loopback.
    pub fn port(&self) -> Result<u16> {
        let port = self.name.rsplit(':').next().unwrap_or_default();
        port.parse().with_context(|| format!("no port in {}", self.name))
    }

    /// The id of a user of this peer.
    pub fn user(&self, localpart: &str) -> String {
        format!("@{localpart}:{}", self.name)
    }

    /// Hashes and signs a draft and finds its id.
    pub fn seal(&self, room: &Room, draft: &Value) -> Result<Event> {
        Event::seal(&room.version, draft, &self.name, &self.key)
    }

    /// From now on `script` decides first what a request is answered.
    pub fn script(&self, script: impl Fn(&Received) -> Option<Reply> + Send + Sync + 'static) {
        self.shared().scripts.add(Box::new(script));
    }

    /// From now on requests whose path has this piece, such as `make_join`, are answered so.
    pub fn answer(&self, piece: &str, reply: Reply) {
        let piece = piece.to_owned();
        self.script(move |request| request.pieces.contains(&piece).then(|| reply.clone()));
    }

    /// Tells the truth again.
    pub fn be_honest(&self) {
        self.shared().scripts.clear();
    }

    /// All requests so far whose path has this piece.
    pub fn seen(&self, piece: &str) -> Vec<Received> {
        let shared = self.shared();
        let matching = |request: &&Received| request.pieces.iter().any(|part| part == piece);
        shared.received.iter().filter(matching).cloned().collect()
    }

    /// Waits for a request that `test` accepts.
    pub async fn received(&self, what: &str, test: impl Fn(&Received) -> bool) -> Result<Received> {
        self.received_after(0, what, test).await
    }

    /// How many requests came until now.
    pub fn how_many(&self) -> usize {
        self.shared().received.len()
    }

    /// Waits for a request that `test` accepts, beside the first `before` that came.
    pub async fn received_after(
        &self,
        before: usize,
        what: &str,
        test: impl Fn(&Received) -> bool,
    ) -> Result<Received> {
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            let found = self.shared().received.iter().skip(before).find(|it| test(it)).cloned();
            if let Some(found) = found {
                return Ok(found);
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        bail!("{} did not receive {what} within {PATIENCE:?}", self.name);
    }

    /// Waits for a PDU in a transaction that `test` accepts.
    pub async fn received_pdu(&self, what: &str, test: impl Fn(&Value) -> bool) -> Result<Value> {
        let found = |request: &Received| request.pdus().find(|pdu| test(pdu)).cloned();
        let request = self.received(what, |request| found(request).is_some()).await?;
        found(&request).context("found before")
    }

    /// Sends a signed request, with a body or without one.
    pub async fn request(
        &self,
        server: &Server,
        method: Method,
        target: &str,
        body: Option<&Value>,
    ) -> Result<Answer> {
        let authorization =
            self.key.authorization(&self.name, server.name(), method.as_str(), target, body)?;
        self.request_as(server, method, target, body, Some(&authorization)).await
    }

    /// Sends a request with this `Authorization` header, or without any.
    pub async fn request_as(
        &self,
        server: &Server,
        method: Method,
        target: &str,
        body: Option<&Value>,
        authorization: Option<&str>,
    ) -> Result<Answer> {
        let text = body.map(render).transpose()?;
        let mut request = self.builder(server, method.clone(), target);
        if let Some(authorization) = authorization {
            request = request.header("Authorization", authorization);
        }
        if let Some(text) = text {
            request = request.header("Content-Type", "application/json").body(text);
        }
        Answer::read(format!("{method} {target}"), request).await
    }

    /// An unsigned request to be completed by hand.
    pub fn builder(
        &self,
        server: &Server,
        method: Method,
        target: &str,
    ) -> reqwest::RequestBuilder {
        let url = format!("https://localhost:{}{target}", server.federation_port());
        self.http.request(method, url)
    }

    /// A signed `GET`.
    pub async fn get(&self, server: &Server, target: &str) -> Result<Answer> {
        self.request(server, Method::GET, target, None).await
    }

    /// A signed `PUT`.
    pub async fn put(&self, server: &Server, target: &str, body: &Value) -> Result<Answer> {
        self.request(server, Method::PUT, target, Some(body)).await
    }

    /// A signed `POST`.
    pub async fn post(&self, server: &Server, target: &str, body: &Value) -> Result<Answer> {
        self.request(server, Method::POST, target, Some(body)).await
    }

    /// Delivers PDUs in one transaction and gives back the answer, whatever it is.
    pub async fn send_pdus(&self, server: &Server, pdus: &[Value]) -> Result<Answer> {
        self.transaction(server, &random::suffix()?, json!(pdus), json!([])).await
    }

    /// Delivers events in one transaction that must succeed, and gives back its answer.
    pub async fn send(&self, server: &Server, events: &[&Event]) -> Result<Value> {
        let pdus: Vec<Value> = events.iter().map(|event| event.pdu.clone()).collect();
        self.send_pdus(server, &pdus).await?.ok()
    }

    /// Delivers EDUs in one transaction that must succeed.
    pub async fn send_edus(&self, server: &Server, edus: Value) -> Result<Value> {
        self.transaction(server, &random::suffix()?, json!([]), edus).await?.ok()
    }

    /// Sends a transaction under this id.
    pub async fn transaction(
        &self,
        server: &Server,
        id: &str,
        pdus: Value,
        edus: Value,
    ) -> Result<Answer> {
        let body = json!({
            "origin": self.name,
            "origin_server_ts": super::room::now(),
            "pdus": pdus,
            "edus": edus,
        });
        self.put(server, &path("/_matrix/federation/v1/send/{}", &[id]), &body).await
    }

    /// Fails unless an event bears the signatures that it needs, each of them by `server` or this
    /// peer and `server`'s among them, and the hash of its content.
    pub async fn verify(&self, server: &Server, version: &str, pdu: &Value) -> Result<()> {
        let answer = self.request_as(server, Method::GET, "/_matrix/key/v2/server", None, None);
        let own = self.key.document(&self.name, super::room::now())?;
        super::event::verify(version, pdu, &[own, answer.await?.ok()?])?;
        let signed = pdu["signatures"].get(server.name()).is_some();
        ensure!(signed, "not signed by {}: {pdu}", server.name());
        Ok(())
    }

    /// Serves this room to other servers.
    pub(super) fn host(&self, room: &Room) {
        self.shared().rooms.insert(room.id.clone(), room.clone());
    }

    pub(super) fn hosted(&self, id: &str) -> Option<Room> {
        self.shared().rooms.get(id).cloned()
    }

    pub(super) fn find_event(&self, id: &str) -> Option<Event> {
        self.shared().rooms.values().find_map(|room| room.event(id))
    }

    pub(super) fn note(&self, request: &Received) {
        self.shared().received.push(request.clone());
    }

    pub(super) fn scripted(&self, request: &Received) -> Option<Reply> {
        self.shared().scripts.reply(request)
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
