//! Many who wait while nothing happens.

use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use futures_util::future::LocalBoxFuture;
use serde_json::Value;

use super::{
    Scenario,
    measure::{self, Series},
    stage::Stage,
};
use crate::client::{User, path, text};

/// How many long polls each user has.
const OF_EACH: usize = 10;
/// How long they wait, in milliseconds.
const WAIT: usize = 10_000;
/// How often somebody asks anew who was told something.
const TRIES: usize = 5;

/// Long polls in which nothing comes: the peak of the memory is what they hold.
#[derive(Debug)]
pub(super) struct Polls {
    name: String,
    polls: usize,
    users: Vec<(User, String)>,
    answers: Vec<Value>,
}

impl Polls {
    /// So many at once.
    pub(super) fn new(name: String, polls: usize) -> Self {
        Self { name, polls, users: Vec::new(), answers: Vec::new() }
    }
}

impl Scenario for Polls {
    fn name(&self) -> &str {
        &self.name
    }

    fn prepare<'a>(&'a mut self, stage: &'a Stage) -> LocalBoxFuture<'a, Result<()>> {
        Box::pin(async {
            let users = stage.users("waiter", self.polls.div_ceil(OF_EACH)).await?;
            stage.room(&users).await?;
            for user in users {
                let answer = user.api.get("/_matrix/client/v3/sync?timeout=0").await?.ok()?;
                let since = text(&answer, "/next_batch")?.to_owned();
                self.users.push((user, since));
            }
            Ok(())
        })
    }

    fn play<'a>(&'a mut self, _: &'a Stage) -> LocalBoxFuture<'a, Result<Vec<Series>>> {
        Box::pin(async {
            // No two requests of a user are the same: a server may answer them together.
            let polls =
                (0..OF_EACH).flat_map(|number| self.users.iter().map(move |it| (number, it)));
            let polls = polls.take(self.polls);
            let (series, answers) =
                measure::each("wait 10 s", self.polls, polls, |(number, (user, since))| {
                    wait(user, since, WAIT + number)
                })
                .await?;
            self.answers = answers;
            Ok(vec![series])
        })
    }

    fn verify<'a>(&'a mut self, _: &'a Stage) -> LocalBoxFuture<'a, Result<()>> {
        Box::pin(async {
            ensure!(self.answers.len() == self.polls, "a poll was not answered");
            let joined =
                |answer: &Value| answer["rooms"]["join"].as_object().map_or(0, |it| it.len());
            ensure!(self.answers.iter().all(|answer| joined(answer) == 0), "there was news");
            Ok(())
        })
    }
}

/// Polls until nothing comes for so many milliseconds: at first there may be something that is not about rooms.
async fn wait(user: &User, since: &str, milliseconds: usize) -> Result<Value> {
    let mut since = since.to_owned();
    for _ in 0..TRIES {
        let template = "/_matrix/client/v3/sync?set_presence=offline&timeout={}&since={}";
        let begun = Instant::now();
        let target = path(template, &[&milliseconds.to_string(), &since]);
        let answer = user.api.get(&target).await?.ok()?;
        if begun.elapsed() >= Duration::from_millis(u64::try_from(milliseconds)?) {
            return Ok(answer);
        }
        text(&answer, "/next_batch")?.clone_into(&mut since);
    }
    bail!("polls are answered before their time")
}
