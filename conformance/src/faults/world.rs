//! What clients do while a server is made to fail, and what must be true afterwards.

use std::time::Duration;

use anyhow::{Context as _, Result};

use super::{
    keys::Keys,
    load::{Sender, send_all},
    messages::Messages,
};
use crate::{client::User, servers::Server};

/// How many of each sender's latest messages are repeated and fetched after each fault.
const RECENT: usize = 20;

/// Rooms, and all that is done in them and beside them while the server runs.
#[derive(Debug)]
pub(super) struct World {
    watcher: User,
    rooms: Vec<String>,
    senders: Vec<Sender>,
    keys: Keys,
    messages: Messages,
}

impl World {
    /// A world of so many devices that send at once; two share each room.
    pub(super) async fn new(server: &Server, count: usize) -> Result<Self> {
        let watcher = User::register(server, "watcher").await?;
        let (senders, rooms) = senders(server, &watcher, count).await?;
        let (keys, messages) = beside_rooms(server).await?;
        Ok(Self { watcher, rooms, senders, keys, messages })
    }

    /// Goes on until everything has lost the server, which is killed meanwhile.
    pub(super) async fn until_killed(&mut self, server: &Server, moment: Duration) -> Result<()> {
        let senders = tokio::spawn(send_all(std::mem::take(&mut self.senders)));
        let keys = tokio::spawn(self.keys.clone().until_silence());
        let messages = tokio::spawn(self.messages.clone().until_silence());
        tokio::time::sleep(moment).await;
        server.kill()?;
        self.senders = senders.await??;
        self.keys = keys.await??;
        self.messages = messages.await??;
        Ok(())
    }

    /// Whether all that was acknowledged is there once, under its id and in order, whoever asks. Gives back
    /// how many requests had no answer before.
    pub(super) async fn verify(&mut self) -> Result<usize> {
        let mut unanswered = 0;
        for sender in &mut self.senders {
            unanswered += sender.repeat(RECENT).await?;
            sender.verify_by_id(RECENT).await?;
        }
        let mut history = Vec::new();
        for room in &self.rooms {
            history.extend(self.watcher.history(room).await?);
        }
        for sender in &self.senders {
            sender.verify(&history)?;
        }
        self.keys.verify().await?;
        self.messages.verify().await?;
        Ok(unanswered)
    }

    /// How many events were sent and verified.
    pub(super) fn events(&self) -> usize {
        self.senders.iter().map(|sender| sender.sent.len()).sum()
    }

    /// How many one-time keys were handed out.
    pub(super) fn keys(&self) -> usize {
        self.keys.claimed.len()
    }

    /// How many messages were sent to a device.
    pub(super) fn messages(&self) -> u64 {
        self.messages.sent
    }
}

/// One account with many devices, two of them in each room, so that senders meet in a room and
/// rooms are written side by side.
pub(super) async fn senders(
    server: &Server,
    watcher: &User,
    count: usize,
) -> Result<(Vec<Sender>, Vec<String>)> {
    let user = User::register(server, "sender").await?;
    let mut senders = Vec::new();
    let mut rooms = Vec::new();
    for number in 0..count {
        if number % 2 == 0 {
            let room = watcher.create_public_room().await?;
            user.join(&room, &[]).await?;
            rooms.push(room);
        }
        let room = rooms.last().context("no room")?.clone();
        senders.push(Sender::new(user.login().await?, room));
    }
    Ok((senders, rooms))
}

/// What devices do beside sending to rooms.
async fn beside_rooms(server: &Server) -> Result<(Keys, Messages)> {
    let (owner, other) =
        (User::register(server, "owner").await?, User::register(server, "other").await?);
    let keys = Keys::new(owner.clone(), other.clone()).await?;
    Ok((keys, Messages::new(other, owner)))
}
