//! Stored events. An event is immutable but for its redaction and for its place in the graph, so it
//! is cached by its ID; what changes those two replaces the entry.

use std::{collections::HashMap, sync::Arc};

use moka::sync::Cache;
use ruma::{
    EventId, OwnedEventId, OwnedRoomId, RoomId, RoomVersionId, events::TimelineEventType,
    room_version_rules::RoomVersionRules,
};
use serde_json::value::RawValue;
use starling_storage::{
    Fact,
    events::{self as rows, EventRow, SentBy, flags},
    rooms,
};

use super::Pdu;
use crate::{Engine, internal::Internal, measures::Size, rooms::versions};

/// An event with what this server noted about it.
#[derive(Clone, Debug)]
pub struct StoredEvent {
    /// The event, redacted if it was.
    pub pdu: Arc<Pdu>,
    /// Root of the snapshot of the state before the event; `None` for an outlier.
    pub state_before: Option<i64>,
    /// See [`flags`].
    pub flags: i16,
    /// The redaction that was applied.
    pub redacted_by: Option<OwnedEventId>,
    /// Our time when it was stored, in milliseconds since the epoch.
    pub received_ts: i64,
    /// By whom it was sent, if it was made here under a transaction.
    pub sent_by: Option<Box<SentBy>>,
}

impl StoredEvent {
    /// Whether a bit of [`flags`] is set.
    #[must_use]
    pub fn has(&self, flag: i16) -> bool {
        self.flags & flag != 0
    }

    /// Whether clients may be shown the event at all: it is in the graph and was accepted.
    #[must_use]
    pub fn is_visible(&self) -> bool {
        !self.has(flags::OUTLIER | flags::REJECTED | flags::SOFT_FAILED)
    }

    /// Whether its place in the graph is known, and the state before it.
    #[must_use]
    pub fn is_in_place(&self) -> bool {
        self.state_before.is_some() && !self.has(flags::ABANDONED)
    }

    /// Reads a row.
    ///
    /// # Errors
    ///
    /// When it does not hold an event.
    pub fn from_row(row: EventRow, rules: &RoomVersionRules) -> Result<Self, Internal> {
        let rejected = row.has(flags::REJECTED);
        let json = RawValue::from_string(row.json)?;
        let (event_id, room_id) = (row.event_id.try_into()?, row.room_id.try_into()?);
        Ok(Self {
            pdu: Arc::new(Pdu::from_stored(event_id, room_id, json, rejected, rules)?),
            state_before: row.state_before,
            flags: row.flags,
            redacted_by: row.redacted_by.map(TryInto::try_into).transpose()?,
            received_ts: row.received_ts,
            sent_by: row.sent_by.map(Box::new),
        })
    }

    /// The row of the event.
    #[must_use]
    pub fn to_row(&self) -> EventRow {
        let pdu = &self.pdu;
        EventRow {
            room_id: pdu.room_id.to_string(),
            event_id: pdu.event_id.to_string(),
            kind: pdu.kind.to_string(),
            state_key: pdu.state_key.clone(),
            sender: pdu.sender.to_string(),
            depth: pdu.depth,
            origin_server_ts: pdu.origin_server_ts.get().into(),
            received_ts: self.received_ts,
            state_before: self.state_before,
            flags: self.flags,
            redacted_by: self.redacted_by.as_ref().map(ToString::to_string),
            json: pdu.json.get().to_owned(),
            sent_by: self.sent_by.as_deref().cloned(),
        }
    }
}

type Key = (OwnedRoomId, OwnedEventId);

/// Events of one room.
pub type EventsById = HashMap<OwnedEventId, Arc<StoredEvent>>;

/// The events that were read or written last, and the versions of their rooms.
#[derive(Clone, Debug)]
pub struct EventCache {
    events: Cache<Key, Arc<StoredEvent>>,
    versions: Cache<OwnedRoomId, Arc<(RoomVersionId, RoomVersionRules)>>,
}

impl EventCache {
    /// A cache of at most `bytes`, by estimate.
    #[must_use]
    pub fn new(bytes: u64) -> Self {
        Self {
            events: Cache::builder().max_capacity(bytes).weigher(weight).build(),
            versions: Cache::builder().max_capacity(100_000).build(),
        }
    }

    /// Puts events that were just committed in place of what was known of them.
    pub fn replace(&self, events: impl IntoIterator<Item = Arc<StoredEvent>>) {
        for event in events {
            self.events.insert((event.pdu.room_id.clone(), event.pdu.event_id.clone()), event);
        }
    }
}

impl EventCache {
    /// How large it is.
    #[must_use]
    pub fn size(&self) -> Size {
        Size::of_weighed(&self.events)
    }

    /// Those of the events that are in memory, and the IDs of the others.
    fn known(&self, room_id: &RoomId, event_ids: &[OwnedEventId]) -> (EventsById, Vec<String>) {
        let mut found = HashMap::with_capacity(event_ids.len());
        let mut missing = Vec::new();
        for event_id in event_ids {
            match self.events.get(&(room_id.to_owned(), event_id.clone())) {
                Some(event) => drop(found.insert(event_id.clone(), event)),
                None => missing.push(event_id.to_string()),
            }
        }
        (found, missing)
    }

    /// Forgets events that are there no more.
    pub fn forget(&self, room_id: &RoomId, event_ids: &[OwnedEventId]) {
        for event_id in event_ids {
            self.events.invalidate(&(room_id.to_owned(), event_id.clone()));
        }
    }

    /// Forgets a room that is there no more, with its events.
    pub fn forget_room(&self, room_id: &RoomId) {
        self.versions.invalidate(room_id);
        for (key, _) in &self.events {
            if key.0 == room_id {
                self.events.invalidate(&*key);
            }
        }
    }
}

fn weight(_: &Key, event: &Arc<StoredEvent>) -> u32 {
    let pdu = &event.pdu;
    let references = 64 * (pdu.prev_events.len() + pdu.auth_events.len());
    let json = pdu.json.get().len() + pdu.content.get().len();
    u32::try_from(700 + references + json).unwrap_or(u32::MAX)
}

/// The version of a room and its rules; `None` when the room is not known here.
///
/// # Errors
///
/// When the database fails, or holds a room of a version that this program does not know.
pub async fn room_version(
    engine: &Engine,
    room_id: &RoomId,
) -> Result<Option<Arc<(RoomVersionId, RoomVersionRules)>>, Internal> {
    if let Some(known) = engine.events.versions.get(room_id) {
        return Ok(Some(known));
    }
    let row = rooms::get(&mut engine.storage.read().await?, room_id.as_str()).await?;
    let Some(row) = row else { return Ok(None) };
    let version = RoomVersionId::try_from(row.room_version)?;
    let unknown = || Internal::Damaged(format!("{room_id} has the unknown version {version}"));
    let rules = versions::rules(&version).ok_or_else(unknown)?;
    let version = Arc::new((version, rules));
    engine.events.versions.insert(room_id.to_owned(), version.clone());
    Ok(Some(version))
}

/// One event of a room.
///
/// # Errors
///
/// When the database fails.
pub async fn get(
    engine: &Engine,
    room_id: &RoomId,
    event_id: &EventId,
) -> Result<Option<Arc<StoredEvent>>, Internal> {
    Ok(get_many(engine, room_id, &[event_id.to_owned()]).await?.into_values().next())
}

/// Those of the IDs that are events of the room.
///
/// # Errors
///
/// When the database fails.
pub async fn get_many(
    engine: &Engine,
    room_id: &RoomId,
    event_ids: &[OwnedEventId],
) -> Result<EventsById, Internal> {
    let (mut found, missing) = engine.events.known(room_id, event_ids);
    engine.measures.caches.events.note(found.len(), missing.len());
    if !missing.is_empty() {
        for (row, rules) in load(engine, room_id, &missing).await? {
            let event = remember(engine, row, &rules.1)?;
            found.insert(event.pdu.event_id.clone(), event);
        }
    }
    Ok(found)
}

/// As [`get_many`], of so many events that they are not to take the place of what is kept in memory.
///
/// # Errors
///
/// When the database fails.
pub async fn get_in_passing(
    engine: &Engine,
    room_id: &RoomId,
    event_ids: &[OwnedEventId],
) -> Result<EventsById, Internal> {
    let ids: Vec<String> = event_ids.iter().map(ToString::to_string).collect();
    let rows = load(engine, room_id, &ids).await?.into_iter();
    rows.map(|(row, rules)| {
        let event = StoredEvent::from_row(row, &rules.1)?;
        Ok((event.pdu.event_id.clone(), Arc::new(event)))
    })
    .collect()
}

/// As [`get_in_passing`], from memory where they are there; without those that cannot be read, so that the others
/// are found.
///
/// # Errors
///
/// When the database fails.
pub async fn get_readable(
    engine: &Engine,
    room_id: &RoomId,
    event_ids: &[OwnedEventId],
) -> Result<EventsById, Internal> {
    let (mut found, missing) = engine.events.known(room_id, event_ids);
    if missing.is_empty() {
        return Ok(found);
    }
    for (row, rules) in load(engine, room_id, &missing).await? {
        match StoredEvent::from_row(row, &rules.1) {
            Ok(event) => drop(found.insert(event.pdu.event_id.clone(), Arc::new(event))),
            Err(error) => tracing::warn!(%error, %room_id, "an event is passed over"),
        }
    }
    Ok(found)
}

/// The rows of events of a room, each with what holds in the room.
async fn load(
    engine: &Engine,
    room_id: &RoomId,
    event_ids: &[String],
) -> Result<Vec<(EventRow, Arc<(RoomVersionId, RoomVersionRules)>)>, Internal> {
    let Some(version) = room_version(engine, room_id).await? else { return Ok(vec![]) };
    let mut conn = engine.storage.read().await?;
    let rows = rows::get_many(&mut conn, room_id.as_str(), event_ids).await?;
    Ok(rows.into_iter().map(|row| (row, version.clone())).collect())
}

/// One event, also of a room that is not known here beside it, by the rules of the room's version.
///
/// # Errors
///
/// When the database fails.
pub async fn get_outside(
    engine: &Engine,
    room_id: &RoomId,
    event_id: &EventId,
    rules: &RoomVersionRules,
) -> Result<Option<Arc<StoredEvent>>, Internal> {
    if let Some(event) = get(engine, room_id, event_id).await? {
        return Ok(Some(event));
    }
    let mut conn = engine.storage.read().await?;
    let rows = rows::get_many(&mut conn, room_id.as_str(), &[event_id.to_string()]).await?;
    drop(conn);
    // It stays out of the cache: nobody has judged it.
    let row = rows.into_iter().next();
    row.map(|row| StoredEvent::from_row(row, rules).map(Arc::new)).transpose()
}

/// Makes an event of a row that was read, by way of the cache.
///
/// # Errors
///
/// When the row does not hold an event.
pub fn remember(
    engine: &Engine,
    row: EventRow,
    rules: &RoomVersionRules,
) -> Result<Arc<StoredEvent>, Internal> {
    let event = Arc::new(StoredEvent::from_row(row, rules)?);
    let key = (event.pdu.room_id.clone(), event.pdu.event_id.clone());
    // A commit may have put a newer one there while the row was read.
    Ok(engine.events.events.entry(key).or_insert(event).into_value())
}

/// Forgets what an event of another process has changed: the event itself, if it was known as an
/// outlier, and the target of a redaction.
///
/// # Errors
///
/// When the database fails.
pub async fn heard(engine: &Engine, fact: &Fact) -> Result<(), Internal> {
    let Fact::Event { room_id, event_id, .. } = fact else { return Ok(()) };
    let key: Key = (room_id.as_str().try_into()?, event_id.as_str().try_into()?);
    let cache = &engine.events.events;
    if cache.get(&key).is_some_and(|event| event.has(flags::OUTLIER)) {
        cache.invalidate(&key);
    }
    let Some(event) = get(engine, &key.0, &key.1).await? else { return Ok(()) };
    let Some(target) = event.pdu.redacts.clone() else { return Ok(()) };
    debug_assert_eq!(event.pdu.kind, TimelineEventType::RoomRedaction);
    let target = (key.0, target);
    if cache.get(&target).is_some_and(|event| event.redacted_by.is_none()) {
        cache.invalidate(&target);
    }
    Ok(())
}
