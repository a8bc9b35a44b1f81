//! Reading the history of a room.

use anyhow::{Context as _, Result, ensure};
use futures_util::future::LocalBoxFuture;
use serde_json::Value;

use super::{
    Scenario,
    load::{self, Acknowledged, numbered},
    measure::{self, Series},
    stage::Stage,
};
use crate::client::{User, path};

const PAGE: &str = "/_matrix/client/v3/rooms/{}/messages?dir=b&limit=50";

/// Several members page back to the beginning of a room.
#[derive(Debug)]
pub(super) struct Messages {
    name: String,
    messages: usize,
    members: usize,
    readers: Vec<User>,
    room: String,
    acknowledged: Acknowledged,
    read: Vec<Vec<Value>>,
}

impl Messages {
    /// A room with so many messages, which so many members read.
    pub(super) fn new(name: String, messages: usize, members: usize) -> Self {
        Self {
            name,
            messages,
            members,
            readers: Vec::new(),
            room: String::new(),
            acknowledged: Acknowledged::default(),
            read: Vec::new(),
        }
    }
}

impl Scenario for Messages {
    fn name(&self) -> &str {
        &self.name
    }

    fn prepare<'a>(&'a mut self, stage: &'a Stage) -> LocalBoxFuture<'a, Result<()>> {
        Box::pin(async {
            self.readers = stage.users("reader", self.members).await?;
            self.room = stage.room(&self.readers).await?;
            let writer = self.readers.first().context("no reader")?;
            let bodies = numbered(self.messages);
            self.acknowledged = load::fill(stage, writer, &self.room, bodies).await?;
            Ok(())
        })
    }

    fn play<'a>(&'a mut self, stage: &'a Stage) -> LocalBoxFuture<'a, Result<Vec<Series>>> {
        Box::pin(async {
            let mut series = Vec::new();
            let mut tokens = vec![None; self.readers.len()];
            self.read = vec![Vec::new(); self.readers.len()];
            // All readers turn the page together, until all have reached the beginning.
            while tokens.iter().any(|token: &Option<String>| token.as_deref() != Some("")) {
                let turning = self.readers.iter().zip(tokens.clone()).enumerate();
                let turning = turning.filter(|(_, (_, token))| token.as_deref() != Some(""));
                let room = self.room.as_str();
                let (turned, pages) = measure::each(
                    "a page of 50",
                    stage.concurrency,
                    turning,
                    |(index, (user, from))| async move {
                        Ok((index, page(user, room, from.as_deref()).await?))
                    },
                )
                .await?;
                series.push(turned);
                for (index, (events, end)) in pages {
                    if let (Some(read), Some(token)) =
                        (self.read.get_mut(index), tokens.get_mut(index))
                    {
                        read.extend(events);
                        *token = Some(end.unwrap_or_default());
                    }
                }
            }
            Ok(vec![Series::joined("a page of 50", series)])
        })
    }

    fn verify<'a>(&'a mut self, _: &'a Stage) -> LocalBoxFuture<'a, Result<()>> {
        Box::pin(async {
            ensure!(self.read.len() == self.readers.len(), "somebody read nothing");
            self.read.iter().try_for_each(|read| self.acknowledged.verify(read))
        })
    }
}

/// A page, and where the next one begins, if there is one.
async fn page(user: &User, room: &str, from: Option<&str>) -> Result<(Vec<Value>, Option<String>)> {
    let mut target = path(PAGE, &[room]);
    if let Some(from) = from {
        target.push_str(&path("&from={}", &[from]));
    }
    let page = user.api.get(&target).await?.ok()?;
    let events = page["chunk"].as_array().context("no chunk")?.clone();
    let end = page["end"].as_str().filter(|&end| Some(end) != from && !events.is_empty());
    Ok((events, end.map(str::to_owned)))
}
