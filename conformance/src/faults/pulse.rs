//! Clients that go about their business at a fixed rate while something is wrong, and how long they wait. A
//! request is made when its time has come, whether those before were answered or not: a server that stands still
//! is not asked less.

use std::{sync::Arc, time::Duration};

use anyhow::{Result, ensure};
use serde_json::json;
use tokio::{
    sync::watch,
    task::{JoinHandle, JoinSet},
    time::{Instant, MissedTickBehavior, interval},
};

use crate::{bench::measure::Series, client::User, random, servers::Server};

/// One account with its room.
type Pair = (User, String);

/// Requests that are made at a rate.
#[derive(Debug)]
pub(super) struct Pulse {
    asking: JoinHandle<Beat>,
    over: watch::Sender<bool>,
}

/// What came of them.
#[derive(Debug)]
pub(super) struct Beat {
    /// Those that were done.
    pub(super) done: Series,
    /// Those that were refused for the time being (429, 503).
    pub(super) refused: Series,
    /// Those that came to nothing, by what they came to.
    pub(super) failed: Vec<String>,
    /// From the first request to the last answer.
    pub(super) until_answered: Duration,
}

/// Accounts with rooms of their own that can be asked for again and again.
#[derive(Clone, Debug)]
pub(super) struct People(Arc<[Pair]>);

impl People {
    /// Registers so many.
    pub(super) async fn new(server: &Server, count: usize) -> Result<Self> {
        let mut pairs = Vec::new();
        for _ in 0..count {
            let user = User::register(server, "pulse").await?;
            let room = user.create_public_room().await?;
            pairs.push((user, room));
        }
        Ok(Self(pairs.into()))
    }

    fn of(&self, number: usize) -> Option<&Pair> {
        self.0.get(number % self.0.len().max(1))
    }
}

impl Pulse {
    /// Begins to make so many requests a second: messages and polls of /sync in turn.
    pub(super) fn begin(people: &People, per_second: f64) -> Self {
        let (over, is_over) = watch::channel(false);
        Self { asking: tokio::spawn(ask(people.clone(), per_second, is_over)), over }
    }

    /// Makes none any more, and waits for the last answers.
    pub(super) async fn end(self) -> Result<Beat> {
        self.over.send_replace(true);
        Ok(self.asking.await?)
    }

    /// For a time, so many at once make one request after the other: what the server can do.
    pub(super) async fn closed(people: &People, at_once: usize, time: Duration) -> Result<Beat> {
        let (begun, mut asking) = (Instant::now(), JoinSet::new());
        for number in 0..at_once {
            let people = people.clone();
            asking.spawn(async move {
                let (mut asked, mut number) = (Vec::new(), number);
                while begun.elapsed() < time {
                    let due = Instant::now();
                    let outcome = one(&people, number).await;
                    asked.push((due.elapsed(), outcome));
                    // Messages and polls in turn, and not always in the same room.
                    number += at_once + 1;
                }
                asked
            });
        }
        let outcomes = asking.join_all().await.into_iter().flatten();
        Ok(Beat::new(outcomes, begun.elapsed(), begun.elapsed()))
    }

    /// Begins, and ends after a time.
    pub(super) async fn last(people: &People, per_second: f64, time: Duration) -> Result<Beat> {
        let pulse = Self::begin(people, per_second);
        tokio::time::sleep(time).await;
        pulse.end().await
    }
}

async fn ask(people: People, per_second: f64, over: watch::Receiver<bool>) -> Beat {
    let begun = Instant::now();
    let mut ticks = interval(Duration::from_secs_f64(1.0 / per_second));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let (mut asked, mut outcomes, mut number) = (JoinSet::new(), Vec::new(), 0);
    while !*over.borrow() {
        let due = ticks.tick().await;
        // Of an hour's requests only what came of them is kept.
        while let Some(outcome) = asked.try_join_next() {
            outcomes.push(outcome.unwrap_or_else(|error| (Duration::ZERO, Err(error.into()))));
        }
        let people = people.clone();
        asked.spawn(async move {
            let outcome = one(&people, number).await;
            (due.elapsed(), outcome)
        });
        number += 1;
    }
    let elapsed = begun.elapsed();
    outcomes.extend(asked.join_all().await);
    Beat::new(outcomes, elapsed, begun.elapsed())
}

/// The status of one answer.
async fn one(people: &People, number: usize) -> Result<u16> {
    let Some((user, room)) = people.of(number / 2) else { anyhow::bail!("nobody is there") };
    let answer = match number.is_multiple_of(2) {
        true => {
            let content = json!({ "msgtype": "m.text", "body": format!("beat {number}") });
            user.try_send(room, "m.room.message", &random::suffix()?, content).await?
        }
        false => user.api.get(NEWS).await?,
    };
    Ok(answer.status)
}

/// The newest messages, without a wait.
const NEWS: &str = "/_matrix/client/v3/sync?timeout=0&filter=%7B%22room%22%3A%7B%22timeline%22%3A%7B%22limit%22%3A5%7D%7D%7D";

impl Beat {
    fn new(
        outcomes: impl IntoIterator<Item = (Duration, Result<u16>)>,
        elapsed: Duration,
        until_answered: Duration,
    ) -> Self {
        let (mut done, mut refused, mut failed) = (Vec::new(), Vec::new(), Vec::new());
        for (took, outcome) in outcomes {
            match outcome {
                Ok(200) => done.push(took),
                Ok(429 | 503) => refused.push(took),
                Ok(status) => failed.push(format!("status {status}")),
                Err(error) => failed.push(format!("{error:#}")),
            }
        }
        let series = |name, taken| Series::new(name, taken, elapsed);
        let (done, refused) = (series("done", done), series("refused", refused));
        Self { done, refused, failed, until_answered }
    }

    /// How many requests were done in a second.
    pub(super) fn per_second(&self) -> f64 {
        self.done.count() as f64 / self.until_answered.as_secs_f64()
    }

    /// Fails unless all requests were done.
    pub(super) fn all_done(&self) -> Result<()> {
        let refused = self.refused.count();
        ensure!(refused == 0, "{refused} requests were refused");
        match self.failed.first() {
            None => Ok(()),
            Some(first) => anyhow::bail!("{} requests failed, first: {first}", self.failed.len()),
        }
    }

    /// How long the slowest but one in a hundred took.
    pub(super) fn p99(&self) -> Duration {
        self.done.percentile(99)
    }
}

/// Fails when a time is more than `times` another one. What is below `floor` is never too long: in a debug build,
/// beside other tests, such times say nothing.
pub(super) fn at_most(
    what: &str,
    time: Duration,
    (times, baseline): (u32, Duration),
    floor: Duration,
) -> Result<()> {
    let limit = (baseline * times).max(floor);
    ensure!(
        time <= limit,
        "{what} is {time:?}, at most {limit:?} was expected (before: {baseline:?})"
    );
    Ok(())
}

/// Milliseconds, for a report.
pub(super) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn beat(refused: usize, failed: Vec<String>) -> Beat {
        let series =
            |count| Series::new("x", vec![Duration::from_millis(1); count], Duration::from_secs(1));
        Beat {
            done: series(3),
            refused: series(refused),
            failed,
            until_answered: Duration::from_secs(1),
        }
    }

    #[test]
    fn what_is_refused_or_fails_is_noticed() {
        beat(0, vec![]).all_done().unwrap();
        assert!(beat(1, vec![]).all_done().is_err());
        assert!(beat(0, vec!["status 500".to_owned()]).all_done().is_err());
    }

    #[test]
    fn what_takes_too_long_is_noticed() {
        let (ms, floor) = (Duration::from_millis, Duration::from_millis(10));
        at_most("it", ms(200), (2, ms(100)), floor).unwrap();
        at_most("it", ms(9), (2, ms(1)), floor).unwrap();
        assert!(at_most("it", ms(201), (2, ms(100)), floor).is_err());
    }
}
