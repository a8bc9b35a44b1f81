//! `backfill` and `get_missing_events`: walking back along the graph of one room.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
};

use ruma::{OwnedEventId, RoomId, ServerName};

use super::{ReadError, access, visible::Eyes};
use crate::{
    Engine,
    events::{
        Pdu,
        store::{self, StoredEvent},
    },
    internal::Internal,
};

/// The most events that one answer to `backfill` holds, whatever is asked for.
const MAX_BACKFILL: usize = 100;
/// The most events that one answer to `get_missing_events` holds.
const MAX_MISSING: usize = 20;
/// How many events the asking server may name.
const MAX_NAMED: usize = 50;

/// Events of a room from those that are named backwards, themselves included, newest first.
///
/// # Errors
///
/// [`ReadError`], each of its variants.
pub async fn backfill(
    engine: &Engine,
    origin: &ServerName,
    room_id: &RoomId,
    from: &[OwnedEventId],
    limit: usize,
) -> Result<Vec<Arc<Pdu>>, ReadError> {
    access::require_member(engine, origin, room_id).await?;
    let mut walk = Walk::new(engine, room_id);
    walk.look_at(named(from)).await?;
    let mut eyes = Eyes::of(engine, origin, room_id).await?;
    let mut found = Vec::new();
    while found.len() < limit.min(MAX_BACKFILL) {
        let Some(event) = walk.next().await? else { break };
        found.extend(eyes.show(&event).await?);
    }
    Ok(found)
}

/// What a server that knows some events is missing of those before others, oldest first.
///
/// # Errors
///
/// [`ReadError`], each of its variants.
pub async fn missing_events(
    engine: &Engine,
    origin: &ServerName,
    room_id: &RoomId,
    query: &Missing<'_>,
) -> Result<Vec<Arc<Pdu>>, ReadError> {
    access::require_member(engine, origin, room_id).await?;
    let mut walk = Walk::new(engine, room_id);
    walk.seen.extend(named(query.earliest).iter().cloned());
    let latest = store::get_many(engine, room_id, named(query.latest)).await?;
    walk.seen.extend(latest.keys().cloned());
    let before: Vec<_> = latest.values().flat_map(|it| it.pdu.prev_events.clone()).collect();
    walk.look_at(&before).await?;
    let mut eyes = Eyes::of(engine, origin, room_id).await?;
    let mut found = Vec::new();
    while found.len() < query.limit.min(MAX_MISSING) {
        let Some(event) = walk.next().await? else { break };
        if event.pdu.depth >= query.min_depth {
            found.extend(eyes.show(&event).await?);
        }
    }
    found.reverse();
    Ok(found)
}

/// What `get_missing_events` asks for.
#[derive(Clone, Copy, Debug)]
pub struct Missing<'a> {
    /// What the asking server knows.
    pub earliest: &'a [OwnedEventId],
    /// The events before which something is missing.
    pub latest: &'a [OwnedEventId],
    /// How many events it wants.
    pub limit: usize,
    /// Events of a smaller depth are not wanted.
    pub min_depth: i64,
}

fn named(event_ids: &[OwnedEventId]) -> &[OwnedEventId] {
    event_ids.get(..MAX_NAMED).unwrap_or(event_ids)
}

/// A walk back along `prev_events`, deepest first. It steps on events of its room only.
struct Walk<'a> {
    engine: &'a Engine,
    room_id: &'a RoomId,
    seen: HashSet<OwnedEventId>,
    ahead: BTreeMap<(i64, OwnedEventId), Arc<StoredEvent>>,
}

impl<'a> Walk<'a> {
    fn new(engine: &'a Engine, room_id: &'a RoomId) -> Self {
        Self { engine, room_id, seen: HashSet::new(), ahead: BTreeMap::new() }
    }

    async fn look_at(&mut self, event_ids: &[OwnedEventId]) -> Result<(), Internal> {
        let new: Vec<_> =
            event_ids.iter().filter(|id| self.seen.insert((*id).clone())).cloned().collect();
        for (event_id, event) in store::get_many(self.engine, self.room_id, &new).await? {
            self.ahead.insert((event.pdu.depth, event_id), event);
        }
        Ok(())
    }

    async fn next(&mut self) -> Result<Option<Arc<StoredEvent>>, Internal> {
        let Some((_, event)) = self.ahead.pop_last() else { return Ok(None) };
        self.look_at(&event.pdu.prev_events).await?;
        Ok(Some(event))
    }
}
