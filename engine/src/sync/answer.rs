//! The answer of /sync. Events are raw JSON that was put together elsewhere.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3sync>

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::value::RawValue;

use super::StateWanted;
use crate::encryption::news::DeviceLists;

/// The answer.
#[derive(Debug, Default, Serialize)]
pub struct Answer {
    /// Where the next /sync continues.
    pub next_batch: String,
    /// Global account data.
    pub account_data: Events,
    /// Who is there.
    pub presence: Events,
    /// Messages to the device.
    pub to_device: Events,
    /// Users whose devices changed.
    pub device_lists: DeviceLists,
    /// One-time keys that are left, by algorithm.
    pub device_one_time_keys_count: BTreeMap<String, u64>,
    /// Algorithms that have an unused fallback key.
    pub device_unused_fallback_key_types: Vec<String>,
    /// Rooms.
    pub rooms: Rooms,
}

/// Rooms by what the user is in them.
#[derive(Debug, Default, Serialize)]
pub struct Rooms {
    /// Joined.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub join: BTreeMap<String, JoinedRoom>,
    /// Invited.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub invite: BTreeMap<String, InvitedRoom>,
    /// Knocked.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub knock: BTreeMap<String, KnockedRoom>,
    /// Left or banned.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub leave: BTreeMap<String, LeftRoom>,
}

/// Some events.
#[derive(Debug, Default, Serialize)]
pub struct Events {
    /// The events.
    pub events: Vec<Box<RawValue>>,
}

/// A room that the user is joined to.
#[derive(Debug, Default, Serialize)]
pub struct JoinedRoom {
    /// What helps to name the room.
    pub summary: Summary,
    /// The state, in one of two places.
    #[serde(flatten)]
    pub state: State,
    /// The timeline.
    pub timeline: Timeline,
    /// Typing and receipts.
    pub ephemeral: Events,
    /// Account data of the room.
    pub account_data: Events,
    /// What the user has not read.
    pub unread_notifications: Counts,
    /// The same for each thread.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub unread_thread_notifications: BTreeMap<String, Counts>,
}

/// State, as of the start or as of the end of the timeline.
#[derive(Debug, Serialize)]
pub enum State {
    /// As of the start.
    #[serde(rename = "state")]
    Before(Events),
    /// As of the end.
    #[serde(rename = "state_after")]
    After(Events),
    /// The same, under the name that it had before it was in the specification.
    #[serde(rename = "org.matrix.msc4222.state_after")]
    UnstableAfter(Events),
}

impl State {
    pub(super) fn new(wanted: StateWanted, events: Events) -> Self {
        match wanted {
            StateWanted::Before => Self::Before(events),
            StateWanted::After => Self::After(events),
            StateWanted::UnstableAfter => Self::UnstableAfter(events),
        }
    }
}

impl Default for State {
    fn default() -> Self {
        Self::Before(Events::default())
    }
}

/// What helps to name a room.
#[derive(Debug, Default, Serialize)]
pub struct Summary {
    /// Members by whom to name it, if it has no name.
    #[serde(rename = "m.heroes", skip_serializing_if = "Option::is_none")]
    pub heroes: Option<Vec<String>>,
    /// How many are joined.
    #[serde(rename = "m.joined_member_count", skip_serializing_if = "Option::is_none")]
    pub joined: Option<i64>,
    /// How many are invited.
    #[serde(rename = "m.invited_member_count", skip_serializing_if = "Option::is_none")]
    pub invited: Option<i64>,
}

/// A stretch of a room's timeline.
#[derive(Debug, Default, Serialize)]
pub struct Timeline {
    /// The events, the oldest first.
    pub events: Vec<Box<RawValue>>,
    /// Whether there are events between the last /sync and these.
    pub limited: bool,
    /// Where paging back continues.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prev_batch: Option<String>,
}

/// How much is unread.
#[derive(Debug, Default, Serialize)]
pub struct Counts {
    /// Events that are of special interest to the user.
    pub highlight_count: i64,
    /// Events that notify.
    pub notification_count: i64,
}

/// A room to which the user is invited.
#[derive(Debug, Default, Serialize)]
pub struct InvitedRoom {
    /// Stripped state.
    pub invite_state: Events,
}

/// A room at which the user knocks.
#[derive(Debug, Default, Serialize)]
pub struct KnockedRoom {
    /// Stripped state.
    pub knock_state: Events,
}

/// A room that the user left, or is banned from.
#[derive(Debug, Default, Serialize)]
pub struct LeftRoom {
    /// The state, in one of two places.
    #[serde(flatten)]
    pub state: State,
    /// The timeline up to the leave.
    pub timeline: Timeline,
    /// Account data of the room.
    pub account_data: Events,
}

impl Answer {
    /// Whether there is nothing in it that the client would want to know.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let Rooms { join, invite, knock, leave } = &self.rooms;
        self.account_data.events.is_empty()
            && self.presence.events.is_empty()
            && self.to_device.events.is_empty()
            && self.device_lists == DeviceLists::default()
            && join.is_empty()
            && invite.is_empty()
            && knock.is_empty()
            && leave.is_empty()
    }
}
