//! A room on two servers: the one under test, and a peer that a test can let lie.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use starling_conformance::{
    client::{Api, Sync, User},
    evil::{Event, Peer, Room},
    servers::Server,
};
use tokio::sync::OnceCell;

use crate::support;

/// The room versions of tests that are about what all of them share: the first, the last one that is
/// lax about numbers, the first one with event ids of today, and the newest.
pub(crate) const VERSIONS: [&str; 4] = ["1", "5", "11", "12"];

/// An event that no server may accept, with a name that says what is wrong with it.
pub(crate) type Bad = (&'static str, Event);

/// An answer that a server which is not held up gives, in a debug build beside other tests.
const SWIFT: Duration = Duration::from_secs(5);

/// Alice on the server under test and Mallory on the peer, in one room.
pub(crate) struct Scene {
    pub(crate) server: &'static Server,
    pub(crate) alice: User,
    pub(crate) sync: Sync,
    pub(crate) peer: Peer,
    pub(crate) mallory: String,
    pub(crate) room: Room,
}

impl Scene {
    /// A public room of Alice's, in this room version; Mallory has joined it.
    pub(crate) async fn set(version: &str) -> Self {
        Self::set_with(json!({ "preset": "public_chat", "room_version": version })).await
    }

    /// A room that Alice creates with these options; Mallory has joined it.
    pub(crate) async fn set_with(options: Value) -> Self {
        let server = support::server().await;
        let peer = support::peer().await;
        let alice = support::user("alice").await;
        let mallory = peer.user("mallory");
        let id = alice.create_room(options).await.unwrap();
        let room = peer.join(server, &id, &mallory).await.unwrap();
        let mut sync = Sync::start(&alice).await.unwrap();
        sync.membership(&id, &mallory, "join").await.unwrap();
        Self { server, alice, sync, peer, mallory, room }
    }

    /// A public room of Mallory's, in this room version; Alice has joined it.
    pub(crate) async fn set_by_peer(version: &str) -> Self {
        let server = support::server().await;
        let peer = support::peer().await;
        let alice = support::user("alice").await;
        let mallory = peer.user("mallory");
        let room = peer.create_room(version, &mallory).unwrap();
        alice.join(&room.id, &[&peer.name]).await.unwrap();
        let mut sync = Sync::start(&alice).await.unwrap();
        sync.membership(&room.id, &alice.id, "join").await.unwrap();
        Self { server, alice, sync, peer, mallory, room }
    }

    /// A message of Mallory's that fits in, sealed but not sent.
    pub(crate) fn message(&self, body: &str) -> Event {
        self.sealed(&self.room.message(&self.mallory, body).unwrap())
    }

    /// A draft, hashed, signed and named.
    pub(crate) fn sealed(&self, draft: &Value) -> Event {
        self.peer.seal(&self.room, draft).unwrap()
    }

    /// Mallory says something valid and Alice hears it.
    pub(crate) async fn say(&mut self, body: &str) -> Event {
        let draft = self.room.message(&self.mallory, body).unwrap();
        self.put_out(&draft).await
    }

    /// Takes a valid draft of the peer's into the room; Alice sees it.
    pub(crate) async fn put_out(&mut self, draft: &Value) -> Event {
        let event = self.peer.put_out(self.server, &self.room, draft).await.unwrap();
        self.sees(&event).await;
        event
    }

    /// Delivers events in one transaction, which must be answered with success whatever is wrong
    /// with them.
    pub(crate) async fn deliver(&self, events: &[&Event]) -> Value {
        self.peer.send(self.server, events).await.unwrap()
    }

    /// Alice is shown this event.
    pub(crate) async fn sees(&mut self, event: &Event) -> Value {
        self.sync.event_with_id(&self.room.id, &event.id).await.unwrap()
    }

    /// After anything hostile: what is valid still comes through, others are still served, and Alice
    /// has been shown none of these events.
    pub(crate) async fn goes_on_without(&mut self, hostile: &[Bad]) {
        self.say(&format!("valid, after {}", hostile.len())).await;
        let mut shown = Vec::new();
        for (name, event) in hostile {
            if self.is_shown(&event.id).await {
                shown.push(name);
            }
        }
        assert!(shown.is_empty(), "version {}: shown to Alice: {shown:?}", self.room.version);
        assert_others_are_served(self.server).await;
    }

    /// Whether /sync has shown an event, or a look at the event itself does.
    pub(crate) async fn is_shown(&self, id: &str) -> bool {
        if self.sync.timeline(&self.room.id).iter().any(|event| event["event_id"] == id) {
            return true;
        }
        let answer = self.alice.event(&self.room.id, id).await.unwrap();
        assert!(matches!(answer.status, 200 | 404), "{answer:?}");
        answer.status == 200
    }

    /// The content of the current state as Alice sees it, or `null`.
    pub(crate) async fn state(&self, kind: &str, key: &str) -> Value {
        let answer = self.alice.state(&self.room.id, kind, key).await.unwrap();
        if answer.status == 404 { Value::Null } else { answer.ok().unwrap() }
    }
}

/// A user who has nothing to do with it is answered without delay.
pub(crate) async fn assert_others_are_served(server: &Server) {
    static TOKEN: OnceCell<String> = OnceCell::const_new();
    let token = TOKEN.get_or_init(async || support::user("bystander").await.token).await;
    let api = Api::new(server).unwrap().with_token(token);
    let begun = Instant::now();
    api.get("/_matrix/client/v3/sync?timeout=0").await.unwrap().ok().unwrap();
    assert!(begun.elapsed() < SWIFT, "a bystander waited {:?}", begun.elapsed());
}
