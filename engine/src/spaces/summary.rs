//! What a room looks like from outside, as this server knows it from within.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1room_summaryroomidoralias>

use std::sync::Arc;

use ruma::{OwnedEventId, OwnedRoomId, RoomId, events::StateEventType};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;
use starling_storage::{rooms as rows, state as state_rows};

use super::child::{self, Child};
use crate::{
    Engine,
    events::{pdu::content_str, store},
    internal::Internal,
    rooms::{
        batch::{Batch, content},
        directory::{self, Listed},
        per_version::PerVersion,
        restricted, room,
        serve::access::is_in_room,
    },
};

/// The type of a room that is a space.
pub const SPACE: &str = "m.space";

/// How many children of one space are looked at.
pub const MAX_CHILDREN: usize = 1_000;

/// Bytes that rooms of this server may take in memory, as they look from outside.
const MAX_BYTES: u64 = 8 << 20;

/// What stands for the size of a summary without its children.
const SUMMARY_BYTES: usize = 1_024;

/// A room from outside.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, Eq)]
pub struct Summary {
    /// What the directory shows too.
    #[serde(flatten)]
    pub listed: Listed,
    /// The rooms whose members may join, when the join rule asks for it.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "room_ids")]
    pub allowed_room_ids: Vec<OwnedRoomId>,
    /// With which algorithm messages are to be encrypted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encryption: Option<String>,
    /// The room's version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub room_version: Option<String>,
}

/// Other servers may say `null`, or name what is no room.
fn room_ids<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<OwnedRoomId>, D::Error> {
    let names: Option<Vec<String>> = Option::deserialize(deserializer)?;
    let names = names.into_iter().flatten();
    Ok(names.filter_map(|name| name.try_into().ok()).take(MAX_CHILDREN).collect())
}

impl Summary {
    /// Whether the room is a space.
    #[must_use]
    pub fn is_space(&self) -> bool {
        self.listed.room_type.as_deref() == Some(SPACE)
    }
}

/// A room from outside, with what it lists.
#[derive(Clone, Debug)]
pub struct Outside {
    /// The room.
    pub summary: Summary,
    /// Its children in their order; none when it is no space.
    pub children: Vec<Child>,
}

impl Outside {
    /// What it takes in memory, about.
    pub(super) fn bytes(&self) -> usize {
        let event = |child: &Child| 2 * child.event.get().len();
        SUMMARY_BYTES + self.children.iter().map(event).sum::<usize>()
    }

    /// As it is answered.
    #[must_use]
    pub fn shown(&self, suggested_only: bool) -> Shown {
        let wanted = self.children.iter().filter(|child| child.suggested || !suggested_only);
        let children_state = wanted.map(|child| child.event.clone()).collect();
        Shown { summary: self.summary.clone(), children_state }
    }
}

/// A room of a hierarchy.
#[derive(Clone, Debug, Serialize)]
pub struct Shown {
    /// The room.
    #[serde(flatten)]
    pub summary: Summary,
    /// The `m.space.child` events, stripped.
    pub children_state: Vec<Box<RawValue>>,
}

/// Where it is remembered what the rooms of this server look like.
pub(super) fn memory() -> PerVersion<Outside> {
    PerVersion::new(MAX_BYTES, Outside::bytes)
}

/// A room that this server is in; `None` for any other: what it remembers of those may be long past.
///
/// # Errors
///
/// When the database fails.
pub async fn own(engine: &Engine, room_id: &RoomId) -> Result<Option<Arc<Outside>>, Internal> {
    if !is_in_room(engine, room_id, &engine.config.server_name).await? {
        return Ok(None);
    }
    let row = rows::get(&mut engine.storage.read().await?, room_id.as_str()).await?;
    let Some(row) = row else { return Ok(None) };
    if let Some(room) = engine.spaces.own.get(&row) {
        return Ok(Some(room));
    }
    let room = read(engine, room_id).await?.map(Arc::new);
    if let Some(room) = &room {
        engine.spaces.own.put(&row, room.clone());
    }
    Ok(room)
}

async fn read(engine: &Engine, room_id: &RoomId) -> Result<Option<Outside>, Internal> {
    let Some(room) = room::load(engine, room_id).await? else { return Ok(None) };
    let mut keys = directory::state_keys().to_vec();
    keys.push((StateEventType::RoomEncryption, String::new()));
    let batch = Batch::new(engine, &room);
    let state = batch.state(room.row.current_state, &keys).await?;
    let (joined, version) = (room.row.joined_members, room.row.room_version.clone());
    let summary = summary(room_id, joined, Some(version), |kind| content(&state, kind));
    let children = match summary.is_space() {
        true => children(engine, room_id).await?,
        false => Vec::new(),
    };
    Ok(Some(Outside { summary, children }))
}

/// What the contents of a room's events say of it.
pub(super) fn summary<'a>(
    room_id: &RoomId,
    joined_members: i64,
    room_version: Option<String>,
    content: impl Fn(StateEventType) -> Option<&'a RawValue>,
) -> Summary {
    let allowed = content(StateEventType::RoomJoinRules).and_then(restricted::restricted);
    let encryption = content(StateEventType::RoomEncryption);
    Summary {
        listed: directory::shown(room_id.to_owned(), joined_members, &content),
        allowed_room_ids: allowed.unwrap_or_default(),
        encryption: encryption.and_then(|content| content_str(content, "algorithm")),
        room_version,
    }
}

async fn children(engine: &Engine, room_id: &RoomId) -> Result<Vec<Child>, Internal> {
    // Lines that were crossed out stay in the state, so more are read than are shown.
    let limit = 4 * MAX_CHILDREN as i64;
    let mut conn = engine.storage.read().await?;
    let rows = state_rows::current_of_type(&mut conn, room_id.as_str(), child::KIND, limit).await?;
    drop(conn);
    let ids = rows.into_iter().map(|(_, event_id)| event_id.try_into());
    let ids: Vec<OwnedEventId> = ids.collect::<Result<_, _>>()?;
    let events = store::get_many(engine, room_id, &ids).await?;
    let mut children: Vec<Child> =
        events.values().filter_map(|event| Child::of(&event.pdu)).collect();
    children.sort_by(Child::compare);
    children.truncate(MAX_CHILDREN);
    Ok(children)
}
