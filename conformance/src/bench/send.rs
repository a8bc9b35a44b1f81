//! Sending messages.

use anyhow::{Context as _, Result};
use futures_util::future::LocalBoxFuture;

use super::{
    Scenario,
    load::{self, Acknowledged},
    measure::{self, Series},
    stage::Stage,
};
use crate::client::User;

/// Some users send to some rooms at the same time, each the next message when the last is acknowledged.
#[derive(Debug)]
pub(super) struct Send {
    name: String,
    rooms: usize,
    senders: usize,
    messages: usize,
    users: Vec<User>,
    ids: Vec<String>,
    sent: Vec<Vec<Sent>>,
}

/// A message that was acknowledged.
#[derive(Debug)]
struct Sent {
    room: usize,
    event_id: String,
    body: String,
}

impl Send {
    /// So many messages of so many senders to so many rooms, of which all senders are members.
    pub(super) fn new(name: String, rooms: usize, senders: usize, messages: usize) -> Self {
        Self {
            name,
            rooms,
            senders,
            messages,
            users: Vec::new(),
            ids: Vec::new(),
            sent: Vec::new(),
        }
    }
}

impl Scenario for Send {
    fn name(&self) -> &str {
        &self.name
    }

    fn prepare<'a>(&'a mut self, stage: &'a Stage) -> LocalBoxFuture<'a, Result<()>> {
        Box::pin(async {
            self.users = stage.users("sender", self.senders).await?;
            for _ in 0..self.rooms {
                self.ids.push(stage.room(&self.users).await?);
            }
            Ok(())
        })
    }

    fn play<'a>(&'a mut self, _: &'a Stage) -> LocalBoxFuture<'a, Result<Vec<Series>>> {
        Box::pin(async {
            let each = self.messages.div_ceil(self.senders);
            let lists = self.users.iter().enumerate().map(|(sender, user)| {
                let message =
                    |number| (user, sender + number, format!("message {number} of {sender}"));
                (0..each).map(message).collect()
            });
            let ids = &self.ids;
            let (series, sent) =
                measure::in_turn("send", lists, |(user, number, body)| async move {
                    let room = number % ids.len();
                    let id = ids.get(room).context("no room")?;
                    Ok(Sent { room, event_id: user.say(id, &body).await?, body })
                })
                .await?;
            self.sent = sent;
            Ok(vec![series])
        })
    }

    fn verify<'a>(&'a mut self, _: &'a Stage) -> LocalBoxFuture<'a, Result<()>> {
        Box::pin(async {
            let reader = self.users.last().context("nobody reads")?;
            for (room, id) in self.ids.iter().enumerate() {
                let history = reader.history(id).await?;
                let here = |sent: &&Sent| sent.room == room;
                let mut acknowledged = Acknowledged::default();
                for sent in self.sent.iter().flatten().filter(here) {
                    acknowledged.note(sent.event_id.clone(), sent.body.clone())?;
                }
                acknowledged.verify(&history)?;
                for list in &self.sent {
                    let sent = list.iter().filter(here).map(|sent| sent.event_id.as_str());
                    load::in_order(sent, &history)?;
                }
            }
            Ok(())
        })
    }
}
