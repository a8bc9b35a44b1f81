//! Telling many members of a room what one of them says.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use futures_util::future::{self, LocalBoxFuture};
use serde_json::{Value, json};

use super::{
    Scenario,
    load::{self, Acknowledged, numbered},
    measure::Series,
    stage::Stage,
};
use crate::client::{Sync, User};

const POLL: Duration = Duration::from_secs(30);
/// How long a message may take to reach a member.
const PATIENCE: Duration = Duration::from_secs(120);
/// How long a server is given for each poll of a member, until all of them wait for the next message.
const UNTIL_A_POLL_WAITS: Duration = Duration::from_millis(2);

/// All members of a room wait with a long poll each while somebody says one thing after the other.
#[derive(Debug)]
pub(super) struct FanOut {
    name: String,
    members: usize,
    messages: usize,
    room: String,
    speaker: Option<User>,
    followers: Vec<Sync>,
    told: Acknowledged,
    order: Vec<String>,
}

impl FanOut {
    /// So many members who wait, beside the one who speaks, and so many messages.
    pub(super) fn new(name: String, members: usize, messages: usize) -> Self {
        Self {
            name,
            members,
            messages,
            room: String::new(),
            speaker: None,
            followers: Vec::new(),
            told: Acknowledged::default(),
            order: Vec::new(),
        }
    }
}

impl Scenario for FanOut {
    fn name(&self) -> &str {
        &self.name
    }

    fn prepare<'a>(&'a mut self, stage: &'a Stage) -> LocalBoxFuture<'a, Result<()>> {
        Box::pin(async {
            let users = stage.users("member", self.members + 1).await?;
            self.room = stage.room(&users).await?;
            let filter = json!({ "room": {
                "timeline": { "limit": 10 }, "state": { "lazy_load_members": true },
            } });
            for user in users.iter().skip(1) {
                self.followers.push(Sync::start_with(user, &filter).await?);
            }
            self.speaker = users.into_iter().next();
            Ok(())
        })
    }

    fn play<'a>(&'a mut self, _: &'a Stage) -> LocalBoxFuture<'a, Result<Vec<Series>>> {
        Box::pin(async {
            let speaker = self.speaker.as_ref().context("nobody speaks")?;
            let room = self.room.as_str();
            let (mut deliveries, mut sends, mut elapsed) = (Vec::new(), Vec::new(), Duration::ZERO);
            for body in numbered(self.messages) {
                let waiting = self.followers.iter_mut().map(|follower| hear(follower, room, &body));
                let waiting = future::try_join_all(waiting);
                let polls = u32::try_from(self.members)?;
                let saying = async {
                    tokio::time::sleep(UNTIL_A_POLL_WAITS * polls).await;
                    let said = Instant::now();
                    anyhow::Ok((said, speaker.say(room, &body).await?, said.elapsed()))
                };
                let (heard, (said, event_id, taken)) = tokio::try_join!(waiting, saying)?;
                let last = heard.iter().max().copied().unwrap_or(said);
                deliveries.extend(heard.into_iter().map(|at| at.saturating_duration_since(said)));
                elapsed += last.saturating_duration_since(said);
                sends.push(taken);
                self.order.push(event_id.clone());
                self.told.note(event_id, body)?;
            }
            Ok(vec![
                Series::new("delivery to a member", deliveries, elapsed),
                Series::new("send", sends, elapsed),
            ])
        })
    }

    fn verify<'a>(&'a mut self, _: &'a Stage) -> LocalBoxFuture<'a, Result<()>> {
        Box::pin(async {
            for follower in &self.followers {
                let timeline = follower.timeline(&self.room);
                self.told.verify(timeline)?;
                load::in_order(self.order.iter().map(String::as_str), timeline)?;
            }
            Ok(())
        })
    }
}

/// Polls until the message came last, and says when it did.
async fn hear(follower: &mut Sync, room: &str, body: &str) -> Result<Instant> {
    let begun = Instant::now();
    let came = |event: &Value| event["content"]["body"] == body;
    while !follower.timeline(room).last().is_some_and(came) {
        ensure!(begun.elapsed() < PATIENCE, "a message was not delivered");
        follower.poll(POLL).await?;
    }
    Ok(Instant::now())
}
