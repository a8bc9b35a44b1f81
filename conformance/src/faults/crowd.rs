//! Devices that send while something is wrong with the server, which is alive all the time, and repeat what it
//! could not take.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tokio::{sync::watch, task::JoinSet, time::timeout};

use super::{
    load::{Seen, Sender},
    world,
};
use crate::{
    client::{User, path},
    servers::Server,
};

/// How long it may take until something is seen.
const PATIENCE: Duration = Duration::from_secs(60);

/// Devices in rooms, and somebody who reads there.
#[derive(Debug)]
pub(super) struct Crowd {
    watcher: User,
    rooms: Vec<String>,
    sending: JoinSet<Result<Sender>>,
    seen: watch::Sender<Seen>,
}

impl Crowd {
    /// So many devices begin to send; two share each room.
    pub(super) async fn start(server: &Server, count: usize) -> Result<Self> {
        let watcher = User::register(server, "watcher").await?;
        let (senders, rooms) = world::senders(server, &watcher, count).await?;
        let (mut sending, seen) = (JoinSet::new(), watch::Sender::default());
        for sender in senders {
            sending.spawn(sender.send_patiently(seen.clone()));
        }
        Ok(Self { watcher, rooms, sending, seen })
    }

    /// Who is in all rooms and sends nothing.
    pub(super) fn watcher(&self) -> &User {
        &self.watcher
    }

    /// The rooms.
    pub(super) fn rooms(&self) -> &[String] {
        &self.rooms
    }

    /// What was seen so far.
    pub(super) fn seen(&self) -> Seen {
        *self.seen.borrow()
    }

    /// Waits until so many more messages are acknowledged than now.
    pub(super) async fn more(&mut self, count: usize) -> Result<Seen> {
        let wanted = self.seen().acknowledged + count;
        self.until(|seen| seen.acknowledged >= wanted).await
    }

    /// Waits until the server could not take something once more than now.
    pub(super) async fn refused(&mut self) -> Result<Seen> {
        let before = self.seen().refused;
        self.until(|seen| seen.refused > before).await
    }

    /// Waits until something is seen; a sender that failed ends the wait.
    async fn until(&mut self, is_it: impl FnMut(&Seen) -> bool) -> Result<Seen> {
        let mut seen = self.seen.subscribe();
        let found = timeout(PATIENCE, seen.wait_for(is_it));
        tokio::select! {
            found = found => {
                let now = self.seen();
                Ok(*found.with_context(|| format!("no more than {now:?} in {PATIENCE:?}"))??)
            }
            Some(ended) = self.sending.join_next() => {
                ended??;
                anyhow::bail!("somebody stopped sending")
            }
        }
    }

    /// Reads the newest messages of a room, as a client that was away does.
    pub(super) async fn read(&self) -> Result<()> {
        let answer = self.watcher.api.get("/_matrix/client/v3/sync?timeout=0").await?.ok()?;
        ensure!(answer["next_batch"].is_string(), "no next_batch in {answer}");
        Ok(())
    }

    /// When, by the server's clock, the newest message of the first room was sent.
    pub(super) async fn newest_ts(&self) -> Result<i64> {
        let room = self.rooms.first().context("no room")?;
        let newest = path("/_matrix/client/v3/rooms/{}/messages?dir=b&limit=1", &[room]);
        let answer = self.watcher.api.get(&newest).await?.ok()?;
        answer["chunk"][0]["origin_server_ts"].as_i64().context("no message")
    }

    /// Stops, and looks whether all that was acknowledged is there once, under its id and in order. Gives how much
    /// that was.
    pub(super) async fn end(mut self) -> Result<usize> {
        self.seen.send_modify(|seen| seen.stops = true);
        let mut history: Vec<Value> = Vec::new();
        let senders: Result<Vec<Sender>> =
            std::mem::take(&mut self.sending).join_all().await.into_iter().collect();
        for room in &self.rooms {
            history.extend(self.watcher.history(room).await?);
        }
        let senders = senders?;
        senders.iter().try_for_each(|sender| sender.verify(&history))?;
        Ok(senders.iter().map(|sender| sender.sent.len()).sum())
    }
}
