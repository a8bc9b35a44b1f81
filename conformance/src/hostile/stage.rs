//! A room that the attacker shares with a user of the server, and an eye on those who have nothing to
//! do with it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::{
    client::{Api, Sync, User},
    evil::{Event, Peer, Room},
    servers::{Server, TestCa},
};

/// How many events a transaction has at most.
const TRANSACTION: usize = 50;
/// How long a bystander's request may take, in a debug build beside other tests.
const SWIFT: Duration = Duration::from_secs(5);
/// How often the bystander asks.
const GLANCE: Duration = Duration::from_millis(100);

/// Alice on the server, Mallory on the attacking peer, in one room of Alice's.
#[derive(Debug)]
pub struct Stage<'a> {
    /// The server that is attacked.
    pub server: &'a Server,
    /// Its user.
    pub alice: User,
    /// The attacker's server.
    pub peer: Peer,
    /// The attacker.
    pub mallory: String,
    /// The room as the attacker sees it.
    pub room: Room,
}

impl<'a> Stage<'a> {
    /// A public room in which Mallory has this power level.
    pub async fn set(server: &'a Server, ca: &TestCa, version: &str, level: i64) -> Result<Self> {
        let peer = Peer::start(ca).await?;
        let alice = User::register(server, "alice").await?;
        let mallory = peer.user("mallory");
        let mut users = json!({ &mallory: level });
        // From room version 12 on a creator must not be listed.
        if version != "12" {
            users[&alice.id] = json!(100);
        }
        let options = json!({
            "preset": "public_chat",
            "room_version": version,
            "power_level_content_override": { "users": users },
        });
        let id = alice.create_room(options).await?;
        let room = peer.join(server, &id, &mallory).await?;
        Sync::start(&alice).await?.membership(&id, &mallory, "join").await?;
        Ok(Self { server, alice, peer, mallory, room })
    }

    /// The latest event that all agree on.
    pub fn base(&self) -> Result<String> {
        self.room.extremities().pop().context("the room has no end")
    }

    /// A draft that follows this event and no other.
    pub fn after(&self, mut draft: Value, event: &str) -> Result<Value> {
        draft["prev_events"] = self.room.references([event])?;
        Ok(draft)
    }

    /// Hashes and signs a draft.
    pub fn seal(&self, draft: &Value) -> Result<Event> {
        self.peer.seal(&self.room, draft)
    }

    /// Sends events, as many to a transaction as there may be, each of which must be answered.
    pub async fn flood(&self, events: &[Event]) -> Result<()> {
        for some in events.chunks(TRANSACTION) {
            self.peer.send(self.server, &some.iter().collect::<Vec<_>>()).await?;
        }
        Ok(())
    }

    /// What the current state says, as Alice sees it.
    pub async fn state(&self, kind: &str, key: &str) -> Result<Value> {
        let answer = self.alice.state(&self.room.id, kind, key).await?;
        if answer.status == 404 { Ok(Value::Null) } else { answer.ok() }
    }

    /// Whether Alice is shown an event.
    pub async fn is_shown(&self, event: &Event) -> Result<bool> {
        match self.alice.event(&self.room.id, &event.id).await?.status {
            200 => Ok(true),
            404 => Ok(false),
            status => bail!("status {status} for an event"),
        }
    }

    /// Both speak and hear each other: the room is a room. Gives Alice's message.
    pub async fn goes_on(&self, about: &str) -> Result<String> {
        let body = format!("after {about}");
        let id = self.alice.say(&self.room.id, &body).await?;
        self.peer.received_pdu(&body, |pdu| pdu["content"]["body"] == body.as_str()).await?;
        let answer = self.room.message(&self.mallory, &format!("answer {about}"))?;
        let answer = self.seal(&self.after(answer, &id)?)?;
        self.flood(std::slice::from_ref(&answer)).await?;
        Sync::start(&self.alice).await?.event_with_id(&self.room.id, &answer.id).await?;
        Ok(id)
    }
}

/// Somebody who has nothing to do with it, and asks all the while.
#[derive(Debug)]
pub struct Watch {
    task: JoinHandle<Result<Duration>>,
    over: Arc<AtomicBool>,
}

impl Watch {
    /// Begins to look.
    pub async fn begin(server: &Server) -> Result<Self> {
        let user = User::register(server, "bystander").await?;
        let api = Api::new(server)?.with_token(&user.token);
        let over = Arc::new(AtomicBool::new(false));
        let done = over.clone();
        let task = tokio::spawn(async move {
            let mut longest = Duration::ZERO;
            while !done.load(Ordering::Relaxed) {
                let begun = Instant::now();
                api.get("/_matrix/client/v3/sync?timeout=0").await?.ok()?;
                longest = longest.max(begun.elapsed());
                tokio::time::sleep(GLANCE).await;
            }
            Ok(longest)
        });
        Ok(Self { task, over })
    }

    /// How long the slowest answer took; fails when that was too long.
    pub async fn end(self) -> Result<Duration> {
        self.over.store(true, Ordering::Relaxed);
        let longest = self.task.await??;
        ensure!(longest < SWIFT, "a bystander waited {longest:?}");
        Ok(longest)
    }
}
