//! A server that does what a test tells it to do.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use http::{Method, Request, Response};
use ruma::{
    CanonicalJsonObject, EventId, OwnedRoomId, OwnedServerName, OwnedUserId, RoomId, RoomVersionId,
    ServerName, UserId,
};
use serde_json::{Value, json};
use starling_engine::{
    ask,
    events::{
        Pdu,
        sign::{Expectation, Role, sign_event},
    },
    rooms::versions,
};
use starling_federation::request_auth;

use crate::network::{self, Network, Server};

type Script = dyn Fn(&Value) -> (u16, Value) + Send + Sync;

/// A scripted server: its keys and its account of the world are those of a real one, its answers
/// and its events are the test's.
pub(crate) struct Peer {
    network: Arc<Network>,
    server: Server,
    scripts: Arc<Mutex<HashMap<String, Arc<Script>>>>,
    received: Arc<Mutex<Vec<(String, Value)>>>,
}

impl Peer {
    pub(crate) async fn new(network: &Arc<Network>, name: &str) -> Self {
        let server = Server::new(network, name).await;
        let peer = Self {
            network: network.clone(),
            server,
            scripts: Arc::default(),
            received: Arc::default(),
        };
        peer.plug();
        peer
    }

    /// Puts the peer (back) into the network.
    pub(crate) fn plug(&self) {
        let (router, scripts, received) =
            (self.server.router(), self.scripts.clone(), self.received.clone());
        self.network.serve(self.name().as_str(), move |request| {
            let (router, scripts, received) = (router.clone(), scripts.clone(), received.clone());
            Box::pin(async move {
                let path = request.uri().path().to_owned();
                if path == "/_matrix/key/v2/server" {
                    return network::ask(router, request).await;
                }
                let uri = percent(&request.uri().to_string());
                let body = serde_json::from_slice(request.body()).unwrap_or(Value::Null);
                received.lock().unwrap().push((uri.clone(), body.clone()));
                let script = scripts
                    .lock()
                    .unwrap()
                    .iter()
                    .find(|(prefix, _)| uri.starts_with(*prefix))
                    .map(|(_, script)| script.clone());
                let (status, answer) = match script {
                    Some(script) => script(&body),
                    None => (404, json!({ "errcode": "M_NOT_FOUND", "error": "no" })),
                };
                let body = Bytes::from(answer.to_string());
                Response::builder().status(status).body(body).unwrap()
            })
        });
    }

    pub(crate) fn name(&self) -> OwnedServerName {
        self.server.name().to_owned()
    }

    pub(crate) fn user(&self, localpart: &str) -> OwnedUserId {
        UserId::parse(format!("@{localpart}:{}", self.name())).unwrap()
    }

    /// Answers requests whose decoded path and query begin so.
    pub(crate) fn answer(
        &self,
        prefix: &str,
        script: impl Fn(&Value) -> (u16, Value) + Send + Sync + 'static,
    ) {
        self.scripts.lock().unwrap().insert(prefix.to_owned(), Arc::new(script));
    }

    /// The requests that came, as decoded path with query, and body.
    pub(crate) fn received(&self, prefix: &str) -> Vec<(String, Value)> {
        let received = self.received.lock().unwrap();
        received.iter().filter(|(uri, _)| uri.starts_with(prefix)).cloned().collect()
    }

    /// Sends a signed request.
    pub(crate) async fn request(
        &self,
        to: &Server,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> (u16, Value) {
        let body = body.map_or_else(Bytes::new, |body| Bytes::from(body.to_string()));
        let mut request = Request::builder().method(method).uri(path).body(body).unwrap();
        let key = self.server.engine().signing_keys.current();
        request_auth::sign(&mut request, self.server.name(), to.name(), key).unwrap();
        let response = self.network.send(to.name(), request).await.unwrap();
        let body = serde_json::from_slice(response.body()).unwrap_or(Value::Null);
        (response.status().as_u16(), body)
    }

    pub(crate) async fn get(&self, to: &Server, path: &str) -> (u16, Value) {
        self.request(to, Method::GET, path, None).await
    }

    pub(crate) async fn put(&self, to: &Server, path: &str, body: &Value) -> (u16, Value) {
        self.request(to, Method::PUT, path, Some(body)).await
    }

    /// Finishes and signs an event as this server.
    pub(crate) fn sign(&self, event: Value, version: &RoomVersionId) -> Pdu {
        sign_as(self.server.name(), self.server.engine(), event, version)
    }

    /// Sends a transaction.
    pub(crate) async fn transaction(
        &self,
        to: &Server,
        txn_id: &str,
        pdus: &[Value],
        edus: &[Value],
    ) -> (u16, Value) {
        let body = json!({
            "origin": self.name(), "origin_server_ts": 1, "pdus": pdus, "edus": edus,
        });
        self.put(to, &format!("/_matrix/federation/v1/send/{txn_id}"), &body).await
    }

    /// Joins a room by its server.
    pub(crate) async fn join(
        &self,
        to: &Server,
        room_id: &OwnedRoomId,
        user_id: &OwnedUserId,
        version: &RoomVersionId,
    ) -> (u16, Value) {
        let path = format!("/_matrix/federation/v1/make_join/{room_id}/{user_id}?ver={version}");
        let (status, made) = self.get(to, &path).await;
        if status != 200 {
            return (status, made);
        }
        assert_eq!(made["room_version"], json!(version));
        let join = self.sign(made["event"].clone(), version);
        let path = ask::path("v2/send_join", &[room_id.as_str(), join.event_id.as_str()]);
        self.put(to, &path, &value(&join)).await
    }

    /// An event of this server after some others, by what the state of a join's answer authorises.
    pub(crate) fn event(
        &self,
        sender: &OwnedUserId,
        room_id: &RoomId,
        after: &[&EventId],
        depth: i64,
        auth: &[String],
        more: &Value,
    ) -> Value {
        let mut event = json!({
            "type": "m.room.message", "room_id": room_id, "sender": sender, "depth": depth,
            "content": { "msgtype": "m.text", "body": format!("{depth}") },
            "origin_server_ts": 1_790_000_000_000_i64, "prev_events": after, "auth_events": auth,
        });
        for (field, value) in more.as_object().into_iter().flatten() {
            event[field] = value.clone();
        }
        event
    }
}

/// Signs whatever it is given, as its sender's server.
fn sign_as(
    name: &ServerName,
    engine: &starling_engine::Engine,
    event: Value,
    version: &RoomVersionId,
) -> Pdu {
    let rules = versions::rules(version).unwrap();
    let text = |field: &str| event[field].as_str().unwrap_or_default().to_owned();
    let (kind, sender) = (text("type"), text("sender"));
    let room_id = event["room_id"].as_str().map(|id| OwnedRoomId::try_from(id).unwrap());
    let state_key = event["state_key"].as_str().map(ToOwned::to_owned);
    let membership = event["content"]["membership"].as_str().map(ToOwned::to_owned);
    let expected = Expectation {
        role: Role::Author,
        origin: name,
        kind: &kind,
        room_id: room_id.as_deref(),
        sender: <&UserId>::try_from(sender.as_str()).unwrap(),
        state_key: state_key.as_deref(),
        membership: membership.as_deref(),
    };
    let event: CanonicalJsonObject = serde_json::from_value(event).unwrap();
    sign_event(&expected, event, engine.signing_keys.current(), &rules).unwrap()
}

/// An event as JSON.
pub(crate) fn value(pdu: &Pdu) -> Value {
    serde_json::from_str(pdu.json.get()).unwrap()
}

/// Decodes a path, so that tests can be read.
fn percent(uri: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = uri.as_bytes().iter();
    while let Some(byte) = rest.next() {
        if *byte == b'%' {
            let hex = [*rest.next().unwrap(), *rest.next().unwrap()];
            bytes.push(u8::from_str_radix(std::str::from_utf8(&hex).unwrap(), 16).unwrap());
        } else {
            bytes.push(*byte);
        }
    }
    String::from_utf8(bytes).unwrap()
}
