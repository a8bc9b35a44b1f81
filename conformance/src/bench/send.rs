//! Sending messages.

use anyhow::Result;
use futures_util::future::LocalBoxFuture;

use super::{
    Scenario,
    load::{Acknowledged, numbered},
    measure::{self, Series},
    stage::Stage,
};
use crate::client::User;

const MEMBERS: usize = 20;
const ROOMS: usize = 10;
const MESSAGES: usize = 1_000;

/// Some users send to some rooms at the same time, and one sends alone.
#[derive(Debug, Default)]
pub(super) struct Send {
    users: Vec<User>,
    rooms: Vec<(String, Acknowledged)>,
}

impl Scenario for Send {
    fn name(&self) -> &'static str {
        "send"
    }

    fn prepare<'a>(&'a mut self, stage: &'a Stage) -> LocalBoxFuture<'a, Result<()>> {
        Box::pin(async {
            self.users = stage.users("sender", stage.scaled(MEMBERS)).await?;
            for _ in 0..stage.scaled(ROOMS) {
                self.rooms.push((stage.room(&self.users).await?, Acknowledged::default()));
            }
            Ok(())
        })
    }

    fn play<'a>(&'a mut self, stage: &'a Stage) -> LocalBoxFuture<'a, Result<Vec<Series>>> {
        Box::pin(async {
            let mut series = Vec::new();
            for (name, at_once, count) in [
                ("by many at once", stage.concurrency, stage.scaled(MESSAGES)),
                ("one by one", 1, stage.scaled(MESSAGES) / 4),
            ] {
                series.push(self.send(name, at_once, count).await?);
            }
            Ok(series)
        })
    }

    fn verify<'a>(&'a mut self, _: &'a Stage) -> LocalBoxFuture<'a, Result<()>> {
        Box::pin(async {
            let Some(reader) = self.users.last() else { return Ok(()) };
            for (room, acknowledged) in &self.rooms {
                acknowledged.verify(&reader.history(room).await?)?;
            }
            Ok(())
        })
    }
}

impl Send {
    async fn send(&mut self, name: &'static str, at_once: usize, count: usize) -> Result<Series> {
        let (users, rooms) = (&self.users, &self.rooms);
        let messages = numbered(count).into_iter().enumerate();
        let messages = messages.zip(users.iter().cycle());
        let (series, sent) = measure::each(name, at_once, messages, |((number, body), user)| {
            let index = number % rooms.len();
            async move {
                let room = rooms.get(index).map_or("", |(room, _)| room.as_str());
                Ok((index, user.say(room, &body).await?, body))
            }
        })
        .await?;
        for (index, event_id, body) in sent {
            if let Some((_, acknowledged)) = self.rooms.get_mut(index) {
                acknowledged.note(event_id, body)?;
            }
        }
        Ok(series)
    }
}
