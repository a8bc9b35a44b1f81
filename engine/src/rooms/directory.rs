//! The directory: rooms that everybody may find.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#listing-rooms>

use std::{sync::Arc, time::Duration};

use http::Method;
use ruma::{OwnedRoomAliasId, OwnedRoomId, RoomId, ServerName, events::StateEventType};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value, json, value::RawValue};
use starling_storage::{
    Change,
    rooms::{self as rows, RoomRow},
};

pub use super::networks::Network;

use super::{
    batch::{Batch, content},
    federated, naming, networks,
    per_version::PerVersion,
    room, topic,
};
use crate::{
    Engine,
    ask::{self, AskError},
    events::pdu::content_str,
    internal::Internal,
    remote::Limits,
    state::StateKey,
};

/// How many rooms a page holds at most.
pub const LARGEST_PAGE: usize = 500;

/// How many rooms are kept as the directory shows them.
const MAX_LISTED: u64 = 10_000;

/// A room as the directory shows it.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, Eq)]
pub struct Listed {
    /// The room.
    pub room_id: OwnedRoomId,
    /// Its main alias.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canonical_alias: Option<OwnedRoomAliasId>,
    /// Its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Its topic.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic: Option<String>,
    /// Its avatar.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub avatar_url: Option<String>,
    /// How many are joined.
    pub num_joined_members: i64,
    /// Whether guests may join.
    pub guest_can_join: bool,
    /// Whether everybody may read it.
    pub world_readable: bool,
    /// How one may join.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub join_rule: Option<String>,
    /// What kind of room.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub room_type: Option<String>,
    /// Whether users of other servers may be in it.
    #[serde(skip)]
    pub federated: bool,
}

/// Which rooms are wanted.
#[derive(Clone, Debug, Default)]
pub struct Search {
    /// A part of the name, topic or alias.
    pub term: Option<String>,
    /// Room types; `None` in the list is a room without type.
    pub room_types: Option<Vec<Option<String>>>,
    /// How many at most.
    pub limit: Option<usize>,
    /// Where to continue: a `next_batch` or `prev_batch`.
    pub since: Option<String>,
    /// Of which networks.
    pub network: Network,
    /// Whether another server asks, for its users.
    pub for_others: bool,
}

/// A page of rooms.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct Page {
    /// The rooms. Those of another server that make no sense are left out.
    #[serde(deserialize_with = "sound")]
    pub chunk: Vec<Listed>,
    /// Where the next page begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_batch: Option<String>,
    /// Where the page before begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prev_batch: Option<String>,
    /// How many rooms there are in all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total_room_count_estimate: Option<u64>,
}

fn sound<'de, D: Deserializer<'de>>(reader: D) -> Result<Vec<Listed>, D::Error> {
    let rooms = Vec::<Value>::deserialize(reader)?;
    Ok(rooms.into_iter().filter_map(|room| serde_json::from_value(room).ok()).collect())
}

/// Why there is no page.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    /// The token is none of ours.
    #[error("the token is not one of this directory")]
    BadToken,
    /// This server failed.
    #[error(transparent)]
    Internal(#[from] Internal),
}

/// A page of the rooms that this server lists, those with most members first.
///
/// # Errors
///
/// See [`DirectoryError`].
pub async fn page(engine: &Engine, search: &Search) -> Result<Page, DirectoryError> {
    let rows = networks::published(engine, &search.network).await?;
    let limit = search.limit.unwrap_or(LARGEST_PAGE).clamp(1, LARGEST_PAGE);
    let start = start(search)?;
    let (mut chunk, mut total) = (Vec::new(), 0);
    for row in rows {
        let in_page = total >= start && chunk.len() < limit;
        // Without a search only the rooms of the page have to be looked at.
        if !in_page && search.is_for_all() {
            total += 1;
            continue;
        }
        let Some(room) = listed(engine, &row).await? else { continue };
        if !is_wanted(&room, search) {
            continue;
        }
        total += 1;
        if in_page {
            chunk.push(Listed { num_joined_members: row.joined_members, ..Listed::clone(&room) });
        }
    }
    let end = start.saturating_add(chunk.len());
    Ok(Page {
        next_batch: (end < total).then(|| format!("d{end}")),
        prev_batch: (start > 0).then(|| format!("d{}", start.min(total).saturating_sub(limit))),
        total_room_count_estimate: Some(total as u64),
        chunk,
    })
}

impl Search {
    fn is_for_all(&self) -> bool {
        self.term.is_none() && self.room_types.is_none() && !self.for_others
    }
}

fn start(search: &Search) -> Result<usize, DirectoryError> {
    let Some(since) = &search.since else { return Ok(0) };
    let number = since.strip_prefix('d').and_then(|number| number.parse().ok());
    number.ok_or(DirectoryError::BadToken)
}

fn is_wanted(room: &Listed, search: &Search) -> bool {
    let contains = |text: Option<&str>, term: &str| {
        text.is_some_and(|text| text.to_lowercase().contains(term))
    };
    let term = search.term.as_ref().map(|term| term.to_lowercase());
    if search.for_others && !room.federated {
        return false;
    }
    let found = term.is_none_or(|term| {
        contains(room.name.as_deref(), &term)
            || contains(room.topic.as_deref(), &term)
            || contains(room.canonical_alias.as_ref().map(|alias| alias.as_str()), &term)
    });
    found && search.room_types.as_ref().is_none_or(|types| types.contains(&room.room_type))
}

/// Where it is remembered what the directory shows of rooms.
pub(crate) fn memory() -> PerVersion<Listed> {
    PerVersion::new(MAX_LISTED, |_| 1)
}

/// What the directory shows of a room; `None` when its state cannot be read.
async fn listed(engine: &Engine, row: &RoomRow) -> Result<Option<Arc<Listed>>, Internal> {
    if let Some(room) = engine.listed.get(row) {
        return Ok(Some(room));
    }
    let room = read(engine, row).await?.map(Arc::new);
    if let Some(room) = &room {
        engine.listed.put(row, room.clone());
    }
    Ok(room)
}

async fn read(engine: &Engine, row: &RoomRow) -> Result<Option<Listed>, Internal> {
    let room_id = RoomId::parse(&row.room_id)?;
    let Some(room) = room::load(engine, &room_id).await? else { return Ok(None) };
    let batch = Batch::new(engine, &room);
    let state = batch.state(room.row.current_state, &state_keys()).await?;
    Ok(Some(shown(room_id, row.joined_members, |kind| content(&state, kind))))
}

/// The keys of the state that [`shown`] looks at.
pub(crate) fn state_keys() -> [StateKey; 8] {
    [
        StateEventType::RoomCreate,
        StateEventType::RoomName,
        StateEventType::RoomTopic,
        StateEventType::RoomAvatar,
        StateEventType::RoomCanonicalAlias,
        StateEventType::RoomJoinRules,
        StateEventType::RoomGuestAccess,
        StateEventType::RoomHistoryVisibility,
    ]
    .map(|kind| (kind, String::new()))
}

/// A room as others are shown it, by the contents of the events that [`state_keys`] names.
pub(crate) fn shown<'a>(
    room_id: OwnedRoomId,
    num_joined_members: i64,
    content: impl Fn(StateEventType) -> Option<&'a RawValue>,
) -> Listed {
    let text =
        |kind, field: &str| content_str(content(kind)?, field).filter(|text| !text.is_empty());
    let is = |kind, field: &str, value: &str| text(kind, field).as_deref() == Some(value);
    let alias = text(StateEventType::RoomCanonicalAlias, "alias");
    Listed {
        room_id,
        canonical_alias: alias.and_then(|alias| alias.try_into().ok()),
        name: text(StateEventType::RoomName, "name"),
        topic: content(StateEventType::RoomTopic).and_then(topic::plain),
        avatar_url: text(StateEventType::RoomAvatar, "url"),
        num_joined_members,
        guest_can_join: is(StateEventType::RoomGuestAccess, "guest_access", "can_join"),
        world_readable: is(
            StateEventType::RoomHistoryVisibility,
            "history_visibility",
            "world_readable",
        ),
        // Who reads no join rule here takes the room for a public one.
        join_rule: text(StateEventType::RoomJoinRules, "join_rule")
            .or_else(|| Some("invite".to_owned())),
        room_type: text(StateEventType::RoomCreate, "type"),
        federated: content(StateEventType::RoomCreate).is_none_or(federated::is_federated),
    }
}

/// Whether the directory lists a room; `None` when the room is not known.
///
/// # Errors
///
/// When the database fails.
pub async fn is_published(engine: &Engine, room_id: &RoomId) -> Result<Option<bool>, Internal> {
    let row = rows::get(&mut engine.storage.read().await?, room_id.as_str()).await?;
    Ok(row.map(|row| row.published))
}

/// Why a room was not listed.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// There is no such room.
    #[error("there is no such room")]
    UnknownRoom,
    /// The user has not the power for it.
    #[error("you may not do this")]
    Forbidden,
    /// This server failed.
    #[error(transparent)]
    Internal(#[from] Internal),
}

/// Lists a room, or not. For who may set its canonical alias, and for administrators.
///
/// # Errors
///
/// See [`PublishError`].
pub async fn publish(
    engine: &Engine,
    user_id: &ruma::UserId,
    is_admin: bool,
    room_id: &RoomId,
    published: bool,
) -> Result<(), PublishError> {
    if is_published(engine, room_id).await?.is_none() {
        return Err(PublishError::UnknownRoom);
    }
    if !is_admin && !naming::may_name(engine, user_id, room_id).await? {
        return Err(PublishError::Forbidden);
    }
    let mut change = Change::new();
    change.write(rows::Write::Published { room_id: room_id.to_string(), published });
    engine.storage.commit(change).await.map_err(Internal::from)?;
    Ok(())
}

/// Asks another server for a page of its directory.
///
/// # Errors
///
/// [`AskError`] when it does not answer.
pub async fn page_of(
    engine: &Engine,
    server: &ServerName,
    search: &Search,
) -> Result<Page, AskError> {
    let filter = json!({
        "generic_search_term": search.term, "room_types": search.room_types,
    });
    let filter: Map<String, Value> = match filter {
        Value::Object(filter) => filter.into_iter().filter(|(_, value)| !value.is_null()).collect(),
        _ => Map::new(),
    };
    let limit = search.limit.unwrap_or(LARGEST_PAGE).clamp(1, LARGEST_PAGE);
    let mut body = json!({ "limit": limit, "filter": filter });
    if let Some(since) = &search.since {
        body["since"] = since.as_str().into();
    }
    match &search.network {
        Network::Matrix => {}
        Network::All => body["include_all_networks"] = true.into(),
        Network::Of(id) => body["third_party_instance_id"] = id.as_str().into(),
    }
    let limits = Limits { timeout: Duration::from_secs(20), max_body: 4 * 1024 * 1024 };
    let mut page: Page =
        ask::send(engine, server, Method::POST, ask::path("v1/publicRooms", &[]), &body, limits)
            .await?;
    page.chunk.truncate(LARGEST_PAGE);
    Ok(page)
}
