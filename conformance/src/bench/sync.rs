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

const POLL: Duration = Duration::from_secs(10);
/// What a client shows of each room at first.
const FILTER: &str = r#"{"room":{"timeline":{"limit":20},"state":{"lazy_load_members":true}}}"#;

/// What a client asks, and how often.
#[derive(Clone, Copy, Debug)]
pub(super) enum Part {
    /// Everything, as a new client does.
    Initial(usize),
    /// For news, where there are none.
    Idle(usize),
    /// To be told what somebody says in one of the rooms.
    Delivery(usize),
}

/// A user of several rooms, in which somebody has said something.
#[derive(Debug)]
pub(super) struct Sync {
    name: String,
    rooms: usize,
    messages: usize,
    parts: Vec<Part>,
    users: Vec<User>,
    ids: Vec<String>,
    told: Acknowledged,
    timeline: Vec<Value>,
    first: Vec<Value>,
    idle: Vec<Value>,
}

impl Sync {
    /// So many rooms with so many messages each.
    pub(super) fn new(name: String, rooms: usize, messages: usize, parts: Vec<Part>) -> Self {
        Self {
            name,
            rooms,
            messages,
            parts,
            users: Vec::new(),
            ids: Vec::new(),
            told: Acknowledged::default(),
            timeline: Vec::new(),
            first: Vec::new(),
            idle: Vec::new(),
        }
    }
}

impl Scenario for Sync {
    fn name(&self) -> &str {
        &self.name
    }

    fn prepare<'a>(&'a mut self, stage: &'a Stage) -> LocalBoxFuture<'a, Result<()>> {
        Box::pin(async {
            self.users = stage.users("follower", 2).await?;
            for _ in 0..self.rooms {
                let room = stage.room(&self.users).await?;
                let speaker = self.users.first().context("nobody speaks")?;
                let bodies = numbered(self.messages);
                load::fill(stage, speaker, &room, bodies).await?;
                self.ids.push(room);
            }
            Ok(())
        })
    }

    fn play<'a>(&'a mut self, stage: &'a Stage) -> LocalBoxFuture<'a, Result<Vec<Series>>> {
        Box::pin(async {
            let [speaker, follower] = self.users.as_slice() else { anyhow::bail!("nobody") };
            let room = self.ids.last().context("no room")?;
            let mut all = Vec::new();
            for part in &self.parts {
                let series = match *part {
                    Part::Initial(count) => {
                        let (series, first) = initial(stage, follower, count).await?;
                        self.first = first;
                        series
                    }
                    Part::Idle(count) => {
                        let (series, idle) = idle(stage, follower, count).await?;
                        self.idle = idle;
                        series
                    }
                    Part::Delivery(count) => {
                        let (series, told, timeline) =
                            deliver(speaker, follower, room, count).await?;
                        (self.told, self.timeline) = (told, timeline);
                        series
                    }
                };
                all.push(series);
            }
            Ok(all)
        })
    }

    fn verify<'a>(&'a mut self, _: &'a Stage) -> LocalBoxFuture<'a, Result<()>> {
        Box::pin(async {
            for answer in &self.first {
                let joined = answer["rooms"]["join"].as_object().context("no rooms")?;
                ensure!(joined.len() == self.rooms, "only {} rooms", joined.len());
                let wanted = self.messages.min(20);
                let shown = |room: &Value| {
                    room["timeline"]["events"].as_array().is_some_and(|it| it.len() >= wanted)
                };
                ensure!(joined.values().all(shown), "a room does not show what was said");
            }
            let silent =
                |answer: &Value| answer["rooms"]["join"].as_object().is_none_or(|it| it.is_empty());
            ensure!(self.idle.iter().all(silent), "there was news where nothing had happened");
            self.told.verify(&self.timeline)
        })
    }
}

async fn initial(stage: &Stage, user: &User, count: usize) -> Result<(Series, Vec<Value>)> {
    // No two requests are the same: a server may give the answer to one again.
    measure::each("initial", stage.concurrency.min(4), 1..=count, |number| sync(user, None, number))
        .await
}

async fn idle(stage: &Stage, user: &User, count: usize) -> Result<(Series, Vec<Value>)> {
    let first = sync(user, None, 0).await?;
    let since = first["next_batch"].as_str().context("no next_batch")?;
    measure::each("incremental, no news", stage.concurrency, 0..count, |_| {
        sync(user, Some(since), 0)
    })
    .await
}

/// One answer of /sync.
pub(super) async fn sync(user: &User, since: Option<&str>, timeout: usize) -> Result<Value> {
    let template = "/_matrix/client/v3/sync?timeout={}&filter={}";
    let mut target = path(template, &[&timeout.to_string(), FILTER]);
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
