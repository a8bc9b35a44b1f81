//! Follows one account with `/sync`, as a client does that stays connected.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

use super::{User, path};

/// How long [`Sync::until`] waits for what it is asked to see.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long one poll may wait for something new.
const POLL: Duration = Duration::from_secs(10);

/// An account's `/sync` stream: the token, and all events of all joined rooms in their order. A clone is another
/// client that was there until now.
#[derive(Clone, Debug)]
pub struct Sync {
    user: User,
    filter: String,
    since: Option<String>,
    timelines: HashMap<String, Vec<Value>>,
}

impl Sync {
    /// Makes the initial sync.
    pub async fn start(user: &User) -> Result<Self> {
        Self::start_with(user, &json!({ "room": { "timeline": { "limit": 500 } } })).await
    }

    /// As [`Self::start`], with another filter.
    pub async fn start_with(user: &User, filter: &Value) -> Result<Self> {
        let timelines = HashMap::new();
        let filter = filter.to_string();
        let mut sync = Self { user: user.clone(), filter, since: None, timelines };
        sync.poll(Duration::ZERO).await?;
        Ok(sync)
    }

    /// The timeline events of a room in the order in which they came, each time that they came.
    pub fn timeline(&self, room: &str) -> &[Value] {
        self.timelines.get(room).map(Vec::as_slice).unwrap_or_default()
    }

    /// One request to `/sync` that waits up to `timeout` for something new.
    pub async fn poll(&mut self, timeout: Duration) -> Result<Value> {
        let template = "/_matrix/client/v3/sync?timeout={}&filter={}";
        let mut target = path(template, &[&timeout.as_millis().to_string(), &self.filter]);
        if let Some(since) = &self.since {
            target.push_str(&path("&since={}", &[since]));
        }
        let answer = self.user.api.get(&target).await?.ok()?;
        self.take_in(&answer).await?;
        let next = answer["next_batch"].as_str().context("no next_batch")?;
        self.since = Some(next.to_owned());
        Ok(answer)
    }

    /// Polls until `test` accepts an answer and gives that answer back.
    pub async fn until(&mut self, what: &str, test: impl Fn(&Value) -> bool) -> Result<Value> {
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            let answer = self.poll(POLL).await?;
            if test(&answer) {
                return Ok(answer);
            }
        }
        bail!("{} did not see {what} within {PATIENCE:?}", self.user.id);
    }

    /// The first event of a room's timeline that `test` accepts, whether it came already or is
    /// still to come.
    pub async fn event(
        &mut self,
        room: &str,
        what: &str,
        test: impl Fn(&Value) -> bool,
    ) -> Result<Value> {
        let begun = Instant::now();
        loop {
            if let Some(event) = self.timeline(room).iter().find(|event| test(event)) {
                return Ok(event.clone());
            }
            if begun.elapsed() > PATIENCE {
                bail!("{} did not see {what} in {room} within {PATIENCE:?}", self.user.id);
            }
            self.poll(POLL).await?;
        }
    }

    /// The event with this id.
    pub async fn event_with_id(&mut self, room: &str, id: &str) -> Result<Value> {
        self.event(room, &format!("event {id}"), |event| event["event_id"] == id).await
    }

    /// The event that gives `user` this membership.
    pub async fn membership(&mut self, room: &str, user: &str, membership: &str) -> Result<Value> {
        let what = format!("membership {membership} of {user}");
        self.event(room, &what, |event| {
            event["type"] == "m.room.member"
                && event["state_key"] == user
                && event["content"]["membership"] == membership
        })
        .await
    }

    /// Waits until the room is in the section `join`, `invite`, `knock` or `leave` of an answer,
    /// and gives back what stands there.
    pub async fn section(&mut self, section: &str, room: &str) -> Result<Value> {
        let pointer = format!("/rooms/{section}/{}", room.replace('~', "~0").replace('/', "~1"));
        let what = format!("{room} in section {section}");
        let answer = self.until(&what, |answer| answer.pointer(&pointer).is_some()).await?;
        Ok(answer.pointer(&pointer).cloned().unwrap_or_default())
    }

    /// Waits for an ephemeral event of this type in a room that `test` accepts.
    pub async fn ephemeral(
        &mut self,
        room: &str,
        kind: &str,
        test: impl Fn(&Value) -> bool,
    ) -> Result<()> {
        self.until(&format!("{kind} in {room}"), |answer| {
            let events = &answer["rooms"]["join"][room]["ephemeral"]["events"];
            let events = events.as_array().map(Vec::as_slice).unwrap_or_default();
            events.iter().any(|event| event["type"] == kind && test(&event["content"]))
        })
        .await?;
        Ok(())
    }

    async fn take_in(&mut self, answer: &Value) -> Result<()> {
        for section in ["join", "leave"] {
            let Some(rooms) = answer["rooms"][section].as_object() else { continue };
            for (room, update) in rooms {
                self.take_in_room(room, &update["timeline"]).await?;
            }
        }
        Ok(())
    }

    /// A limited timeline after the first sight of a room leaves a gap; what is in it is fetched
    /// first, as a client does.
    async fn take_in_room(&mut self, room: &str, timeline: &Value) -> Result<()> {
        let mut events = Vec::new();
        let known = self.timelines.get(room).map(Vec::as_slice).unwrap_or_default();
        if timeline["limited"] == true && !known.is_empty() {
            let from = timeline["prev_batch"].as_str().context("limited without prev_batch")?;
            let is_known = |event: &Value| known.iter().any(|k| k["event_id"] == event["event_id"]);
            events = self.user.history_back_to(room, Some(from), is_known).await?;
            events.reverse();
        }
        events.extend(timeline["events"].as_array().cloned().unwrap_or_default());
        self.timelines.entry(room.to_owned()).or_default().append(&mut events);
        Ok(())
    }
}
