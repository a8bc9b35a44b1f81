//! One event, and what stands around it.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomidcontexteventid>

use std::{collections::HashSet, sync::Arc};

use ruma::{EventId, OwnedUserId, RoomId, events::StateEventType};
use serde::Serialize;
use serde_json::value::RawValue;
use starling_storage::{
    events,
    timeline::{self, Direction, Range},
};

use super::{
    access::{Asking, ReadError, ignored_users},
    filter::EventFilter,
    reader::Reader,
    scan::{Found, Path, Wanted},
    show::{Form, Seen},
    token::{Bound, PageToken},
};
use crate::{
    Engine, Internal,
    events::{StoredEvent, store},
};

/// In how many rooms an event is looked for that nobody names the room of. In room versions 1 and 2
/// others choose the IDs of events.
const MAX_ROOMS: usize = 20;

/// How many events stand around the one when the client does not say.
pub const DEFAULT_LIMIT: usize = 10;

/// How many events stand around the one at most.
pub const LARGEST_LIMIT: usize = 100;

/// An event with its surroundings, as it is answered.
#[derive(Debug, Serialize)]
pub struct Context {
    /// Where paging back continues.
    pub start: String,
    /// Where paging forwards continues.
    pub end: String,
    /// The events before, the newest first.
    pub events_before: Vec<Box<RawValue>>,
    /// The event.
    pub event: Option<Box<RawValue>>,
    /// The events after, the oldest first.
    pub events_after: Vec<Box<RawValue>>,
    /// The state at the last of the events.
    pub state: Vec<Box<RawValue>>,
}

/// Reads one event.
///
/// # Errors
///
/// [`ReadError::NoSuchEvent`] also when the user may not see it, or not read the room.
pub async fn event(
    engine: &Engine,
    asking: Asking<'_>,
    room_id: &RoomId,
    event_id: &EventId,
) -> Result<Box<RawValue>, ReadError> {
    let (mut reader, seen, _) = find(engine, asking, room_id, event_id).await?;
    let ignored = ignored_users(&mut engine.storage.read().await?, asking.user_id).await?;
    let shown = reader.show_bundled(&[seen], &Form::whole(), &ignored).await?;
    shown.into_iter().next().ok_or(ReadError::NoSuchEvent)
}

/// Reads one event, whichever of the user's rooms it is in.
///
/// # Errors
///
/// [`ReadError::NoSuchEvent`] also when the user may not see it, or not read the room.
pub async fn anywhere(
    engine: &Engine,
    asking: Asking<'_>,
    event_id: &EventId,
) -> Result<Box<RawValue>, ReadError> {
    let mut conn = engine.storage.read().await?;
    let rooms = events::rooms_of(&mut conn, event_id.as_str()).await?;
    drop(conn);
    for room_id in rooms.into_iter().take(MAX_ROOMS) {
        let room_id = RoomId::parse(room_id).map_err(Internal::from)?;
        match event(engine, asking, &room_id, event_id).await {
            Err(ReadError::NoSuchEvent | ReadError::Forbidden) => {}
            other => return other,
        }
    }
    Err(ReadError::NoSuchEvent)
}

/// Reads one event and what stands around it.
///
/// # Errors
///
/// [`ReadError::NoSuchEvent`] also when the user may not see it, or not read the room.
pub async fn context(
    engine: &Engine,
    asking: Asking<'_>,
    room_id: &RoomId,
    event_id: &EventId,
    limit: Option<u64>,
    filter: &EventFilter,
) -> Result<Context, ReadError> {
    let found = find(engine, asking, room_id, event_id).await?;
    let ignored = ignored_users(&mut engine.storage.read().await?, asking.user_id).await?;
    around(found, &ignored, limit, filter).await
}

/// What stands around an event of a room, for administrators.
///
/// # Errors
///
/// [`ReadError::NoSuchEvent`].
pub async fn overseen(
    engine: &Engine,
    asking: Asking<'_>,
    room_id: &RoomId,
    event_id: &EventId,
    limit: Option<u64>,
    filter: &EventFilter,
) -> Result<Context, ReadError> {
    let reader = asking.overseer(engine, room_id).await.map_err(|error| match error {
        ReadError::Forbidden => ReadError::NoSuchEvent,
        other => other,
    })?;
    around(place(reader, event_id).await?, &HashSet::new(), limit, filter).await
}

async fn around(
    (mut reader, seen, depth): (Reader, Seen, i64),
    ignored: &HashSet<OwnedUserId>,
    limit: Option<u64>,
    filter: &EventFilter,
) -> Result<Context, ReadError> {
    let limit = limit.map(|limit| usize::try_from(limit).unwrap_or(usize::MAX));
    let limit = limit.unwrap_or_else(|| filter.limit(DEFAULT_LIMIT, LARGEST_LIMIT));
    let limit = limit.min(LARGEST_LIMIT);
    let wanted = |limit| Wanted { filter, ignored, limit };

    let at = PageToken::Place { depth, pos: seen.pos, bound: Bound::None };
    // The place before the event, from which the page back does not show it again.
    let before = PageToken::Place { depth, pos: seen.pos.saturating_sub(1), bound: Bound::None };
    let back = before.range(Direction::Backward);
    let events_before = reader.scan(Path::History { range: back, to: None }, wanted(limit / 2));
    let events_before = events_before.await?;
    let forth = at.range(Direction::Forward);
    let rest = limit - limit / 2;
    let events_after = reader.scan(Path::History { range: forth, to: None }, wanted(rest)).await?;

    let form = Form::whole();
    let state = state(&reader, &seen, &events_before.events, &events_after.events, filter).await?;
    let (start, end) = (end(back, before, &events_before), end(forth, at, &events_after));
    let count = events_before.events.len();
    let all: Vec<Seen> = [events_before.events, vec![seen], events_after.events].concat();
    let mut shown = reader.show_bundled(&all, &form, ignored).await?.into_iter();
    Ok(Context {
        start: start.to_string(),
        end: end.to_string(),
        events_before: shown.by_ref().take(count).collect(),
        event: shown.next(),
        events_after: shown.collect(),
        state: reader.show_state(&state, &form).await?,
    })
}

/// The event with its depth, if the user may see it.
pub(super) async fn find(
    engine: &Engine,
    asking: Asking<'_>,
    room_id: &RoomId,
    event_id: &EventId,
) -> Result<(Reader, Seen, i64), ReadError> {
    match asking.reader(engine, room_id).await {
        Err(ReadError::Forbidden) => Err(ReadError::NoSuchEvent),
        reader => place(reader?, event_id).await,
    }
}

async fn place(mut reader: Reader, event_id: &EventId) -> Result<(Reader, Seen, i64), ReadError> {
    let (engine, room_id) = (&reader.engine.clone(), &reader.room_id.clone());
    let mut conn = engine.storage.read().await?;
    let entry = timeline::find(&mut conn, room_id.as_str(), event_id.as_str()).await?;
    drop(conn);
    let entry = entry.ok_or(ReadError::NoSuchEvent)?;
    let event = store::get(engine, room_id, event_id).await?.ok_or(ReadError::NoSuchEvent)?;
    let membership = reader.sees(&event, entry.pos).await?.ok_or(ReadError::NoSuchEvent)?;
    Ok((reader, Seen { event, pos: entry.pos, membership }, entry.depth))
}

fn end(range: Range, from: PageToken, found: &Found) -> PageToken {
    found.last.map_or(from, |last| PageToken::end_of(range, last))
}

/// The state after the last of the events, as far as it is wanted.
async fn state(
    reader: &Reader,
    seen: &Seen,
    before: &[Seen],
    after: &[Seen],
    filter: &EventFilter,
) -> Result<Vec<Arc<StoredEvent>>, Internal> {
    let last = &after.last().unwrap_or(seen).event;
    let Some(root) = last.state_before else { return Ok(vec![]) };
    let mut state = reader.state(root).await?;
    if let Some(key) = last.pdu.key() {
        state.retain(|event| event.pdu.key().as_ref() != Some(&key));
        state.push(last.clone());
    }
    if filter.lazy_load_members {
        let all = before.iter().chain(after).chain([seen]);
        let senders: HashSet<_> = all.map(|seen| seen.event.pdu.sender.as_str()).collect();
        state.retain(|event| match event.pdu.key() {
            Some((StateEventType::RoomMember, user_id)) => senders.contains(user_id.as_str()),
            _ => true,
        });
    }
    state.retain(|event| filter.wants(&event.pdu));
    Ok(state)
}
