//! The network, and the servers in it.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use axum::{Router, body::Body};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use ruma::{
    EventId, OwnedEventId, OwnedRoomId, OwnedServerName, OwnedUserId, RoomVersionId, ServerName,
};
use serde_json::{Value, json, value::to_raw_value};
use starling_engine::{
    Engine,
    allowance::Allowance,
    keys::SigningKeys,
    outbound,
    remote::{Limits, Transport, TransportError},
    rooms::{
        completing,
        create::{CreateRoom, InitialState, Preset, create},
        partial,
        send::{Message, SetState, message, state},
    },
    testing::{TestClock, TestEngine, config},
};
use starling_federation::{Door, Options, request_auth, router};
use starling_storage::{
    events, memberships, state as state_rows, test_support::TempDatabase, timeline,
};
use tokio::sync::watch;
use tower::ServiceExt as _;

type Answers = dyn Fn(Request<Bytes>) -> BoxFuture<'static, Response<Bytes>> + Send + Sync;

/// Who answers under which name.
#[derive(Default)]
pub(crate) struct Network {
    servers: Mutex<HashMap<OwnedServerName, Arc<Answers>>>,
    pub(crate) clock: Arc<TestClock>,
}

impl Network {
    /// Puts a server into the network.
    pub(crate) fn serve(
        &self,
        name: &str,
        answers: impl Fn(Request<Bytes>) -> BoxFuture<'static, Response<Bytes>> + Send + Sync + 'static,
    ) {
        self.servers.lock().unwrap().insert(name.try_into().unwrap(), Arc::new(answers));
    }

    /// Takes a server off the network, until it is served again.
    pub(crate) fn unplug(&self, name: &str) {
        self.servers.lock().unwrap().retain(|server, _| server != name);
    }

    /// Sends a request as it is.
    pub(crate) async fn send(
        &self,
        destination: &ServerName,
        request: Request<Bytes>,
    ) -> Option<Response<Bytes>> {
        let answers = self.servers.lock().unwrap().get(destination).cloned()?;
        Some(answers(request).await)
    }
}

/// Signs and sends what one server sends.
struct Link {
    network: Arc<Network>,
    name: OwnedServerName,
    keys: Arc<SigningKeys>,
}

#[async_trait]
impl Transport for Link {
    async fn send(
        &self,
        destination: &ServerName,
        mut request: Request<Bytes>,
        _: Limits,
    ) -> Result<Response<Bytes>, TransportError> {
        request_auth::sign(&mut request, &self.name, destination, self.keys.current()).unwrap();
        let response = self.network.send(destination, request).await;
        response.ok_or_else(|| TransportError::Timeout { server: destination.to_string() })
    }
}

/// Asks a router.
pub(crate) async fn ask(router: Router, request: Request<Bytes>) -> Response<Bytes> {
    let response = router.oneshot(request.map(Body::from)).await.unwrap();
    let (parts, body) = response.into_parts();
    Response::from_parts(parts, body.collect().await.unwrap().to_bytes())
}

/// A homeserver.
pub(crate) struct Server {
    pub(crate) network: Arc<Network>,
    test: TestEngine,
    router: Arc<OnceLock<Router>>,
}

impl Server {
    /// A homeserver that answers in the network and sends to it.
    pub(crate) async fn new(network: &Arc<Network>, name: &str) -> Self {
        let server_name = <&ServerName>::try_from(name).unwrap();
        let link = |keys: &Arc<SigningKeys>| -> Arc<dyn Transport> {
            let (network, name) = (network.clone(), server_name.to_owned());
            Arc::new(Link { network, name, keys: keys.clone() })
        };
        let database = TempDatabase::sqlite().unwrap();
        let clock = network.clock.clone();
        let test = TestEngine::connected(database, config(server_name), clock, link).await.unwrap();
        let router =
            Arc::new(OnceLock::from(router(Door::new(test.engine.clone(), Options::default()))));
        let server = Self { network: network.clone(), test, router };
        server.plug();
        outbound::start(server.engine()).unwrap();
        tokio::spawn(completing::run(server.engine().clone()));
        server
    }

    /// Puts the server (back) into the network.
    pub(crate) fn plug(&self) {
        let router = self.router();
        self.network
            .serve(self.name().as_str(), move |request| Box::pin(ask(router.clone(), request)));
    }

    /// Answers questions about states only when the gate is open.
    pub(crate) fn plug_behind(&self, gate: &watch::Receiver<bool>) {
        let (router, gate) = (self.router(), gate.clone());
        self.network.serve(self.name().as_str(), move |request| {
            let (router, mut gate) = (router.clone(), gate.clone());
            Box::pin(async move {
                if request.uri().path().starts_with("/_matrix/federation/v1/state") {
                    gate.wait_for(|open| *open).await.unwrap();
                }
                ask(router, request).await
            })
        });
    }

    /// Answers no question about an event, and counts those that it has not answered.
    pub(crate) fn plug_withholding(&self, event_id: &EventId) -> Arc<AtomicUsize> {
        let (router, secret) = (self.router(), event_id.localpart().to_owned());
        let counter = Arc::new(AtomicUsize::new(0));
        let asked = counter.clone();
        self.network.serve(self.name().as_str(), move |request| {
            let is_about_it = request.uri().to_string().contains(&secret);
            if !is_about_it {
                return Box::pin(ask(router.clone(), request));
            }
            asked.fetch_add(1, Ordering::Relaxed);
            let body = json!({ "errcode": "M_NOT_FOUND", "error": "It is withheld" }).to_string();
            let answer = Response::builder().status(StatusCode::NOT_FOUND).body(body.into());
            Box::pin(async { answer.unwrap() })
        });
        counter
    }

    /// Lets other servers read the directory of rooms.
    pub(crate) fn open_directory(&self) {
        let options = Options { allow_public_rooms: true, ..Options::default() };
        let router = router(Door::new(self.engine().clone(), options));
        self.network
            .serve(self.name().as_str(), move |request| Box::pin(ask(router.clone(), request)));
    }

    /// Lets other servers send so many invites and no more.
    pub(crate) fn limit_invites(&self, invites: Allowance) {
        self.limit(Options { invites: Some(invites), ..Options::default() });
    }

    /// Opens the door with these limits, anew.
    pub(crate) fn limit(&self, options: Options) {
        let router = router(Door::new(self.engine().clone(), options));
        self.network
            .serve(self.name().as_str(), move |request| Box::pin(ask(router.clone(), request)));
    }

    pub(crate) fn router(&self) -> Router {
        self.router.get().unwrap().clone()
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.test.engine
    }

    pub(crate) fn name(&self) -> &ServerName {
        &self.engine().config.server_name
    }

    /// An account.
    pub(crate) async fn user(&self, localpart: &str) -> OwnedUserId {
        self.test.user(localpart).await.unwrap().0
    }

    /// A room of a user, public unless the state says otherwise.
    pub(crate) async fn room(
        &self,
        creator: &OwnedUserId,
        version: RoomVersionId,
        initial_state: &[(&str, Value)],
    ) -> OwnedRoomId {
        // In room version 12 two rooms that are made alike at one time are one.
        self.network.clock.advance(1);
        let initial_state = initial_state.iter().map(|(kind, content)| InitialState {
            kind: (*kind).into(),
            state_key: String::new(),
            content: to_raw_value(content).unwrap(),
        });
        let wanted = CreateRoom {
            creator: creator.clone(),
            version: Some(version),
            preset: Preset::PublicChat,
            published: false,
            alias: None,
            name: Some("Room".to_owned()),
            topic: None,
            invite: vec![],
            is_direct: false,
            creation_content: serde_json::Map::new(),
            initial_state: initial_state.collect(),
            power_level_content_override: serde_json::Map::new(),
        };
        create(self.engine(), &wanted).await.unwrap()
    }

    /// Says something.
    pub(crate) async fn say(
        &self,
        room_id: &OwnedRoomId,
        sender: &OwnedUserId,
        body: &str,
    ) -> OwnedEventId {
        let content = json!({ "msgtype": "m.text", "body": body });
        let said = Message {
            room_id: room_id.clone(),
            sender: sender.clone(),
            kind: "m.room.message".into(),
            content: to_raw_value(&content).unwrap(),
            ts: None,
            transaction: None,
        };
        message(self.engine(), said).await.unwrap()
    }

    /// Sets state.
    pub(crate) async fn set(
        &self,
        room_id: &OwnedRoomId,
        sender: &OwnedUserId,
        kind: &str,
        content: Value,
    ) -> OwnedEventId {
        let wanted = SetState {
            room_id: room_id.clone(),
            sender: sender.clone(),
            kind: kind.into(),
            state_key: String::new(),
            content: to_raw_value(&content).unwrap(),
            ts: None,
        };
        state(self.engine(), wanted).await.unwrap()
    }

    /// The current state of a room: event IDs by type and key.
    pub(crate) async fn state(
        &self,
        room_id: &OwnedRoomId,
    ) -> std::collections::BTreeMap<(String, String), String> {
        let mut conn = self.engine().storage.read().await.unwrap();
        let all = state_rows::all_current(&mut conn, room_id.as_str()).await.unwrap();
        all.into_iter().map(|(kind, key, event_id)| ((kind, key), event_id)).collect()
    }

    /// What a user is in a room, or was said to be outside of it.
    pub(crate) async fn membership(&self, room_id: &str, user_id: &str) -> Option<String> {
        let mut conn = self.engine().storage.read().await.unwrap();
        let row = memberships::get(&mut conn, user_id, room_id).await.unwrap();
        row.map(|row| row.membership)
    }

    /// The bodies of the messages in a room's timeline, oldest first.
    pub(crate) async fn messages(&self, room_id: &OwnedRoomId) -> Vec<String> {
        let mut conn = self.engine().storage.read().await.unwrap();
        let rows =
            timeline::newest(&mut conn, room_id.as_str(), i64::MIN, i64::MAX, 1000).await.unwrap();
        let ids: Vec<String> = rows.into_iter().rev().map(|entry| entry.event_id).collect();
        let events = events::get_many(&mut conn, room_id.as_str(), &ids).await.unwrap();
        let body = |id: &String| {
            let event = events.iter().find(|event| event.event_id == *id).unwrap();
            let event: Value = serde_json::from_str(&event.json).unwrap();
            event["content"]["body"].as_str().map(ToOwned::to_owned)
        };
        ids.iter().filter_map(body).collect()
    }

    /// Waits until the whole state of a room is known.
    pub(crate) async fn until_whole(&self, room_id: &OwnedRoomId) {
        let is_whole = async || !partial::is_partial(self.engine(), room_id).await.unwrap();
        self.until("the whole state", is_whole).await;
    }

    /// Waits until something holds, looking again after each commit.
    pub(crate) async fn until(&self, what: &str, holds: impl AsyncFn() -> bool) {
        let mut head = self.engine().storage.feed().watch();
        let waiting = async {
            while !holds().await {
                head.changed().await.unwrap();
            }
        };
        let waited = tokio::time::timeout(Duration::from_secs(20), waiting).await;
        assert!(waited.is_ok(), "{}: {what} did not come about", self.name());
    }
}
