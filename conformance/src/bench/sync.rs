//! Following one's rooms.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use futures_util::future::LocalBoxFuture;
use serde_json::Value;

use super::{
    Scenario,
    load::{self, Acknowledged, numbered},
    measure::{self, Series},
    stage::Stage,
};
use crate::client::{self, User, path};

const ROOMS: usize = 50;
const MESSAGES: usize = 20;
const SYNCS: usize = 50;
const DELIVERIES: usize = 200;
const POLL: Duration = Duration::from_secs(10);

/// A user of many rooms begins with a new client, looks for news where there are none, and is told what
/// somebody says in one of the rooms.
#[derive(Debug, Default)]
pub(super) struct Sync {
    users: Vec<User>,
    rooms: Vec<String>,
    told: Acknowledged,
    timeline: Vec<Value>,
    first: Vec<Value>,
}

impl Scenario for Sync {
    fn name(&self) -> &'static str {
        "sync"
    }

    fn prepare<'a>(&'a mut self, stage: &'a Stage) -> LocalBoxFuture<'a, Result<()>> {
        Box::pin(async {
            self.users = stage.users("follower", 2).await?;
            for _ in 0..stage.scaled(ROOMS) {
                let room = stage.room(&self.users).await?;
                let speaker = self.users.first().context("nobody speaks")?;
                let bodies = numbered(stage.scaled(MESSAGES));
                load::fill(stage, speaker, &room, bodies).await?;
                self.rooms.push(room);
            }
            Ok(())
        })
    }

    fn play<'a>(&'a mut self, stage: &'a Stage) -> LocalBoxFuture<'a, Result<Vec<Series>>> {
        Box::pin(async {
            let [speaker, follower] = self.users.as_slice() else { anyhow::bail!("nobody") };
            let syncs = 0..stage.scaled(SYNCS);
            let (initial, first) =
                measure::each("initial", 4, syncs, |_| sync(follower, None)).await?;
            self.first = first;
            let since = self.first.first().and_then(|it| it["next_batch"].as_str());
            let since = since.context("no next_batch")?;
            let idle = 0..4 * stage.scaled(SYNCS);
            let (incremental, _) =
                measure::each("incremental, no news", stage.concurrency, idle, |_| {
                    sync(follower, Some(since))
                })
                .await?;
            let room = self.rooms.last().context("no room")?;
            let (delivered, told, timeline) =
                deliver(speaker, follower, room, stage.scaled(DELIVERIES)).await?;
            self.told = told;
            self.timeline = timeline;
            Ok(vec![initial, incremental, delivered])
        })
    }

    fn verify<'a>(&'a mut self, stage: &'a Stage) -> LocalBoxFuture<'a, Result<()>> {
        Box::pin(async {
            for answer in &self.first {
                let joined = answer["rooms"]["join"].as_object().context("no rooms")?;
                ensure!(joined.len() == stage.scaled(ROOMS), "only {} rooms", joined.len());
                let last = self.rooms.last().map(|room| &joined[room]["timeline"]["events"]);
                let shown = last.and_then(Value::as_array).context("no timeline")?;
                ensure!(!shown.is_empty(), "the last room has no timeline");
            }
            self.told.verify(&self.timeline)
        })
    }
}

async fn sync(user: &User, since: Option<&str>) -> Result<Value> {
    let mut target = "/_matrix/client/v3/sync?timeout=0".to_owned();
    if let Some(since) = since {
        target.push_str(&path("&since={}", &[since]));
    }
    user.api.get(&target).await?.ok()
}

/// Says one thing after the other, and measures from the request until the follower's long poll has it.
async fn deliver(
    speaker: &User,
    follower: &User,
    room: &str,
    count: usize,
) -> Result<(Series, Acknowledged, Vec<Value>)> {
    let mut followed = client::Sync::start(follower).await?;
    let already = followed.timeline(room).len();
    let (mut taken, mut told) = (Vec::new(), Acknowledged::default());
    let all = Instant::now();
    for body in numbered(count) {
        let begun = Instant::now();
        let saying = async { speaker.say(room, &body).await };
        let (event_id, seen) =
            tokio::join!(saying, hears(&mut followed, room, already + taken.len()));
        seen?;
        taken.push(begun.elapsed());
        told.note(event_id?, body.clone())?;
    }
    let series = Series::new("delivery of a message", taken, all.elapsed());
    let timeline = followed.timeline(room).iter().skip(already).cloned().collect();
    Ok((series, told, timeline))
}

/// Polls until the timeline has more than so many events.
async fn hears(followed: &mut client::Sync, room: &str, known: usize) -> Result<()> {
    let begun = Instant::now();
    while followed.timeline(room).len() <= known {
        ensure!(begun.elapsed() < 3 * POLL, "a message was not delivered");
        followed.poll(POLL).await?;
    }
    Ok(())
}
