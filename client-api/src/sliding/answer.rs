//! The answer of sliding sync in either form.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::value::RawValue;
use starling_engine::sync::sliding::answer::{Answer, Hero, Inside, Room, StateItem};

use super::extensions;

/// In which form it is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// As clients use it today.
    Simplified,
    /// As the proposal was accepted.
    V4,
}

#[derive(Serialize)]
pub(super) struct AnswerJson {
    pos: String,
    lists: BTreeMap<String, ListJson>,
    rooms: BTreeMap<String, RoomJson>,
    extensions: extensions::AnswerJson,
}

#[derive(Serialize)]
struct ListJson {
    count: u64,
}

/// A room. What is `None` is not told, and `Some(None)` says that there is none any more.
#[derive(Default, Serialize)]
struct RoomJson {
    #[serde(skip_serializing_if = "Option::is_none")]
    membership: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    lists: Vec<String>,
    #[serde(skip_serializing_if = "is_false")]
    initial: bool,
    bump_stamp: i64,
    /// Of a room at whose door the user is; of others it is said inside.
    #[serde(skip_serializing_if = "Option::is_none")]
    is_dm: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    invite_state: Option<Vec<Box<RawValue>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stripped_state: Option<Vec<Box<RawValue>>>,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    inside: Option<InsideJson>,
}

#[derive(Default, Serialize)]
struct InsideJson {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<Option<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    avatar: Option<Option<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    heroes: Option<Vec<HeroJson>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    is_dm: Option<bool>,
    #[serde(skip_serializing_if = "is_false")]
    unstable_expanded_timeline: bool,
    #[serde(skip_serializing_if = "is_false")]
    expanded_timeline: bool,
    required_state: Vec<StateJson>,
    timeline: Vec<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prev_batch: Option<String>,
    limited: bool,
    num_live: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    joined_count: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    invited_count: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    notification_count: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    highlight_count: Option<i64>,
}

#[derive(Serialize)]
struct HeroJson {
    user_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    displayname: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    avatar_url: Option<String>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum StateJson {
    Event(Box<RawValue>),
    Stub {
        #[serde(rename = "type")]
        kind: String,
        state_key: String,
    },
}

fn is_false(value: &bool) -> bool {
    !*value
}

impl AnswerJson {
    pub(super) fn new(answer: Answer, form: Form) -> Self {
        let list = |(name, count)| (name, ListJson { count });
        let room = |(room_id, room)| (room_id, RoomJson::new(room, form));
        Self {
            pos: answer.pos,
            lists: answer.lists.into_iter().map(list).collect(),
            rooms: answer.rooms.into_iter().map(room).collect(),
            extensions: extensions::AnswerJson::new(answer.extensions),
        }
    }
}

impl RoomJson {
    fn new(room: Room, form: Form) -> Self {
        let Room { membership, lists, initial, bump_stamp, is_dm, inside, stripped_state } = room;
        let is_dm = is_dm.filter(|_| inside.is_none());
        let inside = inside.map(|inside| InsideJson::new(inside, initial, form));
        let json = Self { initial, bump_stamp, is_dm, inside, ..Self::default() };
        match form {
            // A room that is left is no invite, even if it was one.
            Form::Simplified => {
                let at_the_door = matches!(membership.as_str(), "invite" | "knock");
                Self { invite_state: stripped_state.filter(|_| at_the_door), ..json }
            }
            Form::V4 => Self { membership: Some(membership), lists, stripped_state, ..json },
        }
    }
}

impl InsideJson {
    fn new(inside: Inside, initial: bool, form: Form) -> Self {
        let is_v4 = form == Form::V4;
        // What is not in a room that comes whole is not there, and need not be said to be gone.
        let told = |value: &Option<Option<String>>| {
            value.clone().filter(|value| value.is_some() || !initial)
        };
        let state = |item| match item {
            StateItem::Event(event) => Some(StateJson::Event(event)),
            StateItem::Gone { kind, state_key } => {
                is_v4.then_some(StateJson::Stub { kind, state_key })
            }
        };
        let hero = |hero: Hero| HeroJson {
            user_id: hero.user_id,
            displayname: hero.display_name,
            avatar_url: hero.avatar_url,
        };
        Self {
            name: told(&inside.name).filter(|name| name.is_some() || is_v4),
            avatar: told(&inside.avatar),
            heroes: inside.heroes.map(|heroes| heroes.into_iter().map(hero).collect()),
            is_dm: inside.is_dm,
            unstable_expanded_timeline: inside.expanded_timeline && !is_v4,
            expanded_timeline: inside.expanded_timeline && is_v4,
            required_state: inside.required_state.into_iter().filter_map(state).collect(),
            timeline: inside.timeline,
            prev_batch: inside.prev_batch,
            limited: inside.limited,
            num_live: inside.num_live,
            joined_count: inside.joined_count,
            invited_count: inside.invited_count,
            notification_count: Some(inside.notification_count).filter(|_| !is_v4),
            highlight_count: Some(inside.highlight_count).filter(|_| !is_v4),
        }
    }
}
