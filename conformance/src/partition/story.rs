//! What happens in the room before, while and after its servers are cut from each other.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use futures_util::future::try_join_all;
use serde_json::{Value, json};

use super::world::World;
use crate::client::{Sync, User, path};

/// How often it is looked whether all have everything.
const GLANCE: Duration = Duration::from_millis(500);
/// Every so many events are a change of state.
const STATE_EVERY: usize = 10;

/// A room that has a member on each server.
#[derive(Debug)]
pub(super) struct Story<'a> {
    world: &'a World,
    users: Vec<User>,
    room: String,
}

/// What was measured.
#[derive(Clone, Copy, Debug)]
pub(super) struct Figures {
    /// How many events both sides made.
    pub(super) events: usize,
    /// How long the cut was.
    pub(super) cut: Duration,
    /// From the healing until each side has heard something of the other.
    pub(super) heard: Duration,
    /// From the healing until all have the same events and the same state.
    pub(super) same: Duration,
}

impl<'a> Story<'a> {
    /// Makes the room, in which everybody may do everything.
    pub(super) async fn begin(world: &'a World, version: &str) -> Result<Self> {
        let users = world.users().await?;
        let (first, others) = users.split_first().context("no users")?;
        let mut levels: BTreeMap<&str, i64> =
            others.iter().map(|user| (user.id.as_str(), 50)).collect();
        // From room version 12 on a creator must not be listed.
        if version != "12" {
            levels.insert(&first.id, 100);
        }
        let options = json!({
            "preset": "public_chat",
            "room_version": version,
            "power_level_content_override": { "users": levels },
        });
        let room = first.create_room(options).await?;
        let home = world.servers.first().context("no servers")?.name();
        for user in others {
            user.join(&room, &[home]).await?;
        }
        let story = Self { world, users, room };
        story.all_hear("everybody is here").await?;
        Ok(story)
    }

    /// Cuts, goes on on both sides, heals, and waits until all is the same.
    pub(super) async fn play(&self, events: usize, limit: Duration) -> Result<Figures> {
        let begun = Instant::now();
        self.world.cut();
        let each = events.div_ceil(self.users.len().div_ceil(2));
        let speaking = self.users.iter().map(|user| self.go_on(user, each));
        let mut sent: BTreeSet<String> =
            try_join_all(speaking).await?.into_iter().flatten().collect();
        let cut = begun.elapsed();
        self.nobody_heard_the_others(&sent).await?;

        let begun = Instant::now();
        self.world.heal();
        let healed = try_join_all(self.users.iter().map(|user| user.say(&self.room, "healed")));
        sent.extend(healed.await?);
        let mut heard = None;
        loop {
            match self.difference(&sent, &mut heard, begun).await? {
                None => break,
                Some(difference) if begun.elapsed() > limit => bail!(difference),
                Some(_) => tokio::time::sleep(GLANCE).await,
            }
        }
        let same = begun.elapsed();
        self.all_hear("all is well").await?;
        Ok(Figures { events: sent.len(), cut, heard: heard.unwrap_or(same), same })
    }

    /// A user talks, and changes state that is theirs and state that is everybody's.
    async fn go_on(&self, user: &User, count: usize) -> Result<Vec<String>> {
        let mut sent = Vec::with_capacity(count);
        for number in 0..count {
            let text = format!("{number} of {}", user.id);
            let own = json!({ "note": text });
            sent.push(match (number % STATE_EVERY, number / STATE_EVERY % 2) {
                (1, 0) => {
                    let topic = json!({ "topic": text });
                    user.set_state(&self.room, "m.room.topic", "", topic).await?
                }
                (1, _) => user.set_state(&self.room, "org.example.note", &user.id, own).await?,
                _ => user.say(&self.room, &text).await?,
            });
        }
        Ok(sent)
    }

    /// Fails when something came through the cut.
    async fn nobody_heard_the_others(&self, sent: &BTreeSet<String>) -> Result<()> {
        for (index, user) in self.users.iter().enumerate() {
            for (other, speaker) in self.users.iter().enumerate() {
                if self.world.side(index) == self.world.side(other) {
                    continue;
                }
                let target = "/_matrix/client/v3/rooms/{}/messages?dir=b&limit=50";
                let page = user.api.get(&path(target, &[&self.room])).await?.ok()?;
                let events = page["chunk"].as_array().map(Vec::as_slice).unwrap_or_default();
                let through = events.iter().any(|event| {
                    let id = event["event_id"].as_str().unwrap_or_default();
                    event["sender"] == speaker.id.as_str() && sent.contains(id)
                });
                ensure!(!through, "{} heard {} through the cut", user.id, speaker.id);
            }
        }
        Ok(())
    }

    /// What is not the same yet, if anything.
    async fn difference(
        &self,
        sent: &BTreeSet<String>,
        heard: &mut Option<Duration>,
        begun: Instant,
    ) -> Result<Option<String>> {
        let mut difference = None;
        let mut all_heard = true;
        let mut states = Vec::new();
        for (index, user) in self.users.iter().enumerate() {
            // A server that asks others for history first may take longer than anybody waits.
            let history = match user.history(&self.room).await {
                Ok(history) => history,
                Err(error) => return Ok(Some(format!("{} sees no history: {error:#}", user.id))),
            };
            let ids: Vec<&str> =
                history.iter().filter_map(|event| event["event_id"].as_str()).collect();
            let distinct: BTreeSet<&str> = ids.iter().copied().collect();
            ensure!(distinct.len() == ids.len(), "{} is shown events twice", user.id);
            all_heard &= self.hears_other_side(index, &history);
            let missing = sent.iter().filter(|id| !distinct.contains(id.as_str())).count();
            if missing > 0 {
                difference = Some(format!("{} lacks {missing} of {}", user.id, sent.len()));
            }
            states.push(self.state(user).await?);
        }
        if all_heard && heard.is_none() {
            *heard = Some(begun.elapsed());
        }
        if difference.is_none()
            && let Some((first, others)) = states.split_first()
            && let Some(other) = others.iter().find(|other| *other != first)
        {
            difference = Some(format!("the states differ: {first:?} and {other:?}"));
        }
        Ok(difference)
    }

    fn hears_other_side(&self, index: usize, history: &[Value]) -> bool {
        let other = |speaker: &&Value| {
            self.users.iter().enumerate().any(|(other, user)| {
                self.world.side(other) != self.world.side(index) && **speaker == user.id.as_str()
            })
        };
        let late = history.iter().rev().take(50).map(|event| &event["sender"]);
        late.filter(other).count() > 0
    }

    async fn state(&self, user: &User) -> Result<BTreeMap<String, String>> {
        let target = path("/_matrix/client/v3/rooms/{}/state", &[&self.room]);
        let state = user.api.get(&target).await?.ok()?;
        let slot = |event: &Value| {
            let key = format!("{} {}", event["type"], event["state_key"]);
            Some((key, event["event_id"].as_str()?.to_owned()))
        };
        Ok(state.as_array().context("no state")?.iter().filter_map(slot).collect())
    }

    /// Everybody says something, and everybody hears it.
    async fn all_hear(&self, what: &str) -> Result<()> {
        let mut syncs = Vec::new();
        for user in &self.users {
            syncs.push(Sync::start(user).await?);
        }
        for user in &self.users {
            let id = user.say(&self.room, what).await?;
            for sync in &mut syncs {
                sync.event_with_id(&self.room, &id).await?;
            }
        }
        Ok(())
    }
}
