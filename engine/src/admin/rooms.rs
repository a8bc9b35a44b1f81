//! The rooms that this deployment knows, and what administrators see of them.

use std::{
    cmp::Reverse,
    collections::{HashMap, HashSet},
};

use ruma::{OwnedUserId, RoomId, UserId, api::Direction};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, value::RawValue};
use starling_storage::{Conn, admin::rooms as rows, memberships, rooms::RoomRow};

use crate::{
    Engine, Internal,
    events::store,
    reading::{
        access::{Asking, ReadError},
        messages::{self, Page, PageRequest},
        moments::{self, Moment},
        show::Form,
    },
    rooms::room,
};

/// How many rooms are read at a time.
const CHUNK: i64 = 500;

/// The state that tells what a room is.
const KINDS: [&str; 9] = [
    "m.room.create",
    "m.room.name",
    "m.room.topic",
    "m.room.avatar",
    "m.room.canonical_alias",
    "m.room.join_rules",
    "m.room.guest_access",
    "m.room.history_visibility",
    "m.room.encryption",
];

/// A room, as administrators see it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// The room.
    pub room_id: String,
    /// Its name.
    pub name: Option<String>,
    /// Its main alias.
    pub canonical_alias: Option<String>,
    /// How many are joined.
    pub joined_members: i64,
    /// How many of them are of this deployment.
    pub joined_local_members: i64,
    /// Its version.
    pub version: String,
    /// Who made it.
    pub creator: Option<String>,
    /// How it is encrypted.
    pub encryption: Option<String>,
    /// Whether users of other servers may join.
    pub federatable: bool,
    /// Whether the directory lists it.
    pub public: bool,
    /// How one may join.
    pub join_rules: Option<String>,
    /// Whether guests may join.
    pub guest_access: Option<String>,
    /// Who sees its history.
    pub history_visibility: Option<String>,
    /// How many state events it has.
    pub state_events: i64,
    /// What kind of room it is.
    pub room_type: Option<String>,
    /// Its topic.
    #[serde(skip)]
    pub topic: Option<String>,
    /// Its avatar.
    #[serde(skip)]
    pub avatar_url: Option<String>,
}

/// By what a list of rooms is ordered.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// By name.
    #[default]
    #[serde(alias = "alphabetical")]
    Name,
    /// By main alias.
    CanonicalAlias,
    /// The largest first.
    #[serde(alias = "size")]
    JoinedMembers,
    /// Those with most members of this deployment first.
    JoinedLocalMembers,
    /// The newest version first.
    Version,
    /// By who made them.
    Creator,
    /// By how they are encrypted.
    Encryption,
    /// By whether other servers may join.
    Federatable,
    /// By whether the directory lists them.
    Public,
    /// By how one may join.
    JoinRules,
    /// By whether guests may join.
    GuestAccess,
    /// By who sees their history.
    HistoryVisibility,
    /// Those with most state first.
    StateEvents,
}

/// Which rooms are wanted.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// A part of the name, the main alias or the id.
    pub search: Option<String>,
    /// Only rooms that the directory lists, or does not.
    pub public: Option<bool>,
    /// Only rooms that nobody is in, or somebody.
    pub empty: Option<bool>,
    /// The order; equal ones by id.
    pub order: Order,
    /// The other way round.
    pub backwards: bool,
    /// How many to leave out.
    pub offset: i64,
    /// How many at most.
    pub limit: i64,
}

/// How much a room takes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Size {
    /// The room.
    pub room_id: String,
    /// The bytes of its events. Indices and state take more.
    pub bytes: i64,
}

/// The rooms that take most, those first. It reads every event there is.
///
/// # Errors
///
/// When the database fails.
pub async fn sizes(engine: &Engine, limit: i64) -> Result<Vec<Size>, Internal> {
    let mut conn = engine.storage.read().await?;
    let sizes = rows::largest(&mut conn, limit).await?;
    Ok(sizes.into_iter().map(|(room_id, bytes)| Size { room_id, bytes }).collect())
}

/// A page of rooms, and how many there are in all.
///
/// # Errors
///
/// When the database fails.
pub async fn list(engine: &Engine, wanted: &Wanted) -> Result<(Vec<Summary>, i64), Internal> {
    let mut conn = engine.storage.read().await?;
    let mut all = Vec::new();
    let mut after = String::new();
    loop {
        let rooms = rows::after(&mut conn, &after, CHUNK).await?;
        let Some(last) = rooms.last() else { break };
        after.clone_from(&last.room_id);
        let mut found = described(&mut conn, rooms).await?;
        found.retain(|room| is_wanted(room, wanted));
        if matches!(wanted.order, Order::JoinedLocalMembers | Order::StateEvents) {
            count(&mut conn, &mut found).await?;
        }
        all.extend(found);
    }
    sort(&mut all, wanted.order);
    if wanted.backwards {
        all.reverse();
    }
    let total = i64::try_from(all.len()).unwrap_or(i64::MAX);
    let offset = usize::try_from(wanted.offset).unwrap_or(usize::MAX);
    let limit = usize::try_from(wanted.limit).unwrap_or(0);
    let mut page: Vec<Summary> = all.into_iter().skip(offset).take(limit).collect();
    count(&mut conn, &mut page).await?;
    Ok((page, total))
}

/// One room; `None` when it is not known.
///
/// # Errors
///
/// When the database fails.
pub async fn summary(engine: &Engine, room_id: &str) -> Result<Option<Summary>, Internal> {
    let mut conn = engine.storage.read().await?;
    let rooms = starling_storage::rooms::get_many(&mut conn, &[room_id.to_owned()]).await?;
    let mut found = described(&mut conn, rooms).await?;
    count(&mut conn, &mut found).await?;
    Ok(found.pop())
}

/// What else is shown of one room: how many devices its members of this deployment have, and whether
/// all who were in it have forgotten it.
///
/// # Errors
///
/// When the database fails.
pub async fn devices_and_forgotten(
    engine: &Engine,
    room_id: &RoomId,
) -> Result<(i64, bool), Internal> {
    let mut conn = engine.storage.read().await?;
    let devices = rows::local_devices(&mut conn, room_id.as_str()).await?;
    let kept = ["join", "invite", "knock", "leave", "ban"].map(str::to_owned);
    let members = memberships::of_room(&mut conn, room_id.as_str(), &kept).await?;
    let mut ours = members.iter().filter(|member| member.local).peekable();
    let forgotten = ours.peek().is_some() && ours.all(|member| member.forgotten);
    Ok((devices, forgotten))
}

fn is_wanted(room: &Summary, wanted: &Wanted) -> bool {
    let found = wanted.search.as_deref().is_none_or(|search| {
        let small = search.to_lowercase();
        let contains = |text: &Option<String>| {
            text.as_ref().is_some_and(|text| text.to_lowercase().contains(&small))
        };
        room.room_id.contains(search) || contains(&room.name) || contains(&room.canonical_alias)
    });
    found
        && wanted.public.is_none_or(|public| room.public == public)
        && wanted.empty.is_none_or(|empty| (room.joined_members == 0) == empty)
}

fn sort(rooms: &mut [Summary], order: Order) {
    let small = |text: &Option<String>| text.as_deref().unwrap_or_default().to_lowercase();
    let id = |room: &Summary| room.room_id.clone();
    match order {
        Order::Name => rooms.sort_by_cached_key(|it| (small(&it.name), id(it))),
        Order::CanonicalAlias => {
            rooms.sort_by_cached_key(|it| (small(&it.canonical_alias), id(it)));
        }
        Order::JoinedMembers => {
            rooms.sort_by_cached_key(|it| (Reverse(it.joined_members), id(it)));
        }
        Order::JoinedLocalMembers => {
            rooms.sort_by_cached_key(|it| (Reverse(it.joined_local_members), id(it)));
        }
        Order::StateEvents => rooms.sort_by_cached_key(|it| (Reverse(it.state_events), id(it))),
        Order::Version => {
            let number = |room: &Summary| room.version.parse::<u32>().unwrap_or(u32::MAX);
            rooms.sort_by_cached_key(|it| (Reverse((number(it), it.version.clone())), id(it)));
        }
        Order::Creator => rooms.sort_by_cached_key(|it| (small(&it.creator), id(it))),
        Order::Encryption => rooms.sort_by_cached_key(|it| (small(&it.encryption), id(it))),
        Order::Federatable => rooms.sort_by_cached_key(|it| (it.federatable, id(it))),
        Order::Public => rooms.sort_by_cached_key(|it| (it.public, id(it))),
        Order::JoinRules => rooms.sort_by_cached_key(|it| (small(&it.join_rules), id(it))),
        Order::GuestAccess => rooms.sort_by_cached_key(|it| (small(&it.guest_access), id(it))),
        Order::HistoryVisibility => {
            rooms.sort_by_cached_key(|it| (small(&it.history_visibility), id(it)));
        }
    }
}

/// The part of an event that tells something about its room.
#[derive(Deserialize)]
struct Told {
    sender: String,
    content: Map<String, Value>,
}

/// What the state says of some rooms.
async fn described(conn: &mut Conn, rooms: Vec<RoomRow>) -> Result<Vec<Summary>, Internal> {
    let ids: Vec<String> = rooms.iter().map(|room| room.room_id.clone()).collect();
    let kinds = KINDS.map(str::to_owned);
    let mut told: HashMap<(String, String), Told> = HashMap::new();
    for (room_id, kind, json) in rows::state_of(conn, &ids, &kinds).await? {
        // An event of an odd form tells nothing.
        if let Ok(event) = serde_json::from_str(&json) {
            told.insert((room_id, kind), event);
        }
    }
    Ok(rooms.into_iter().map(|room| describe(room, &told)).collect())
}

fn describe(room: RoomRow, told: &HashMap<(String, String), Told>) -> Summary {
    let event = |kind: &str| told.get(&(room.room_id.clone(), kind.to_owned()));
    let text = |kind: &str, field: &str| {
        let value = event(kind)?.content.get(field)?.as_str()?;
        Some(value.to_owned()).filter(|value| !value.is_empty())
    };
    let create = event("m.room.create");
    let federate = create.and_then(|create| create.content.get("m.federate")?.as_bool());
    Summary {
        name: text("m.room.name", "name"),
        canonical_alias: text("m.room.canonical_alias", "alias"),
        joined_members: room.joined_members,
        joined_local_members: 0,
        creator: create.map(|create| create.sender.clone()),
        encryption: text("m.room.encryption", "algorithm"),
        federatable: federate.unwrap_or(true),
        public: room.published,
        join_rules: text("m.room.join_rules", "join_rule"),
        guest_access: text("m.room.guest_access", "guest_access"),
        history_visibility: text("m.room.history_visibility", "history_visibility"),
        state_events: 0,
        room_type: text("m.room.create", "type"),
        topic: text("m.room.topic", "topic"),
        avatar_url: text("m.room.avatar", "url"),
        version: room.room_version,
        room_id: room.room_id,
    }
}

/// Adds the numbers that have to be counted.
async fn count(conn: &mut Conn, rooms: &mut [Summary]) -> Result<(), Internal> {
    let ids: Vec<String> = rooms.iter().map(|room| room.room_id.clone()).collect();
    let members: HashMap<_, _> = rows::local_members(conn, &ids).await?.into_iter().collect();
    let state: HashMap<_, _> = rows::state_events(conn, &ids).await?.into_iter().collect();
    for room in rooms {
        room.joined_local_members = members.get(&room.room_id).copied().unwrap_or_default();
        room.state_events = state.get(&room.room_id).copied().unwrap_or_default();
    }
    Ok(())
}

/// Who is joined to a room.
///
/// # Errors
///
/// When the database fails.
pub async fn members(engine: &Engine, room_id: &RoomId) -> Result<Vec<String>, Internal> {
    let mut conn = engine.storage.read().await?;
    let joined = ["join".to_owned()];
    let rows = memberships::of_room(&mut conn, room_id.as_str(), &joined).await?;
    Ok(rows.into_iter().map(|row| row.user_id).collect())
}

/// The state of a room.
///
/// # Errors
///
/// [`ReadError::Forbidden`] when the room is not known.
pub async fn state(
    engine: &Engine,
    by: &UserId,
    room_id: &RoomId,
) -> Result<Vec<Box<RawValue>>, ReadError> {
    let reader = Asking { user_id: by, device_id: None }.overseer(engine, room_id).await?;
    let root = reader.current_root().await?;
    let events = reader.state(root).await?;
    Ok(reader.show_state(&events, &Form::whole()).await?)
}

/// A page of a room's history.
///
/// # Errors
///
/// [`ReadError::Forbidden`] when the room is not known.
pub async fn history(
    engine: &Engine,
    by: &UserId,
    room_id: &RoomId,
    request: PageRequest,
) -> Result<Page, ReadError> {
    let reader = Asking { user_id: by, device_id: None }.overseer(engine, room_id).await?;
    messages::read(reader, &HashSet::<OwnedUserId>::new(), request).await
}

/// The event of a room that is closest to a time.
///
/// # Errors
///
/// [`ReadError`].
pub async fn closest(
    engine: &Engine,
    by: &UserId,
    room_id: &RoomId,
    ts: i64,
    direction: Direction,
) -> Result<Moment, ReadError> {
    let reader = Asking { user_id: by, device_id: None }.overseer(engine, room_id).await?;
    moments::closest_for(reader, ts, direction).await
}

/// An event at the end of a room's graph.
#[derive(Clone, Debug, Serialize)]
pub struct Extremity {
    /// The event.
    pub event_id: String,
    /// The snapshot of the state before it.
    pub state_group: Option<i64>,
    /// Its depth.
    pub depth: i64,
    /// When it came.
    pub received_ts: i64,
}

/// The events at the end of a room's graph; `None` when the room is not known.
///
/// # Errors
///
/// When the database fails.
pub async fn extremities(
    engine: &Engine,
    room_id: &RoomId,
) -> Result<Option<Vec<Extremity>>, Internal> {
    let Some(room) = room::load(engine, room_id).await? else { return Ok(None) };
    let ids: Vec<_> = room.extremities.iter().cloned().collect();
    let events = store::get_many(engine, room_id, &ids).await?;
    let shown = events.into_values().map(|event| Extremity {
        event_id: event.pdu.event_id.to_string(),
        state_group: event.state_before,
        depth: event.pdu.depth,
        received_ts: event.received_ts,
    });
    Ok(Some(shown.collect()))
}
