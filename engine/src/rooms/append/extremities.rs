//! The ends of the room's graph: the accepted events that no accepted event follows.

use std::collections::HashSet;

use ruma::OwnedEventId;
use starling_storage::events::{self as rows, flags};

use crate::{events::StoredEvent, internal::Internal, rooms::batch::Batch};

/// How many ends a room has. Only malice or a long partition makes so many; each message of ours
/// ties twenty of them together.
const MAX_ENDS: usize = 500;
/// How many refused events are walked through to find what an event follows after all.
const MAX_WALK: usize = 200;

/// Makes an accepted event an end of the graph, in place of those that it follows.
pub(in crate::rooms) async fn advance(
    batch: &mut Batch,
    event: &StoredEvent,
) -> Result<(), Internal> {
    batch.room.row.max_depth = batch.room.row.max_depth.max(event.pdu.depth);
    for followed in followed(batch, event).await? {
        batch.room.extremities.remove(&followed);
    }
    // In room versions 1 and 2 events can claim to follow each other; a graph without an end could
    // not be continued.
    if batch.room.extremities.is_empty() || !is_followed(batch, event).await? {
        batch.room.extremities.insert(event.pdu.event_id.clone());
    }
    bound(batch, event).await
}

/// Lets go of the end that came first when there are too many. What it said stays in the state;
/// only nothing of ours will follow it.
async fn bound(batch: &mut Batch, event: &StoredEvent) -> Result<(), Internal> {
    if batch.room.extremities.len() <= MAX_ENDS {
        return Ok(());
    }
    let ends: Vec<OwnedEventId> = batch.room.extremities.iter().cloned().collect();
    let known = batch.events(&ends).await?;
    let others = known.values().filter(|end| end.pdu.event_id != event.pdu.event_id);
    let first = others.min_by_key(|end| (end.received_ts, end.pdu.depth, &end.pdu.event_id));
    if let Some(first) = first.map(|end| end.pdu.event_id.clone()) {
        batch.room.extremities.remove(&first);
    }
    Ok(())
}

/// Takes back an end of the graph that turned out to be no part of the room: what it follows is one
/// again, unless something else follows that. The last end stays, so that the graph can be continued.
pub(in crate::rooms) async fn withdraw(
    batch: &mut Batch,
    event: &StoredEvent,
) -> Result<(), Internal> {
    if !batch.room.extremities.remove(&event.pdu.event_id) {
        return Ok(());
    }
    let before = batch.events(&event.pdu.prev_events).await?;
    for prev in before.values().filter(|prev| prev.is_visible()) {
        if !has_successor(batch, prev).await? {
            batch.room.extremities.insert(prev.pdu.event_id.clone());
        }
    }
    if batch.room.extremities.is_empty() {
        batch.room.extremities.insert(event.pdu.event_id.clone());
    }
    Ok(())
}

/// The predecessors of an event, and those of its refused predecessors, which are no ends.
async fn followed(batch: &Batch, event: &StoredEvent) -> Result<HashSet<OwnedEventId>, Internal> {
    let mut followed: HashSet<OwnedEventId> = event.pdu.prev_events.iter().cloned().collect();
    let mut open = event.pdu.prev_events.clone();
    // The usual case: all predecessors are ends, and nothing has to be read.
    open.retain(|id| !batch.room.extremities.contains(id));
    while !open.is_empty() && followed.len() < MAX_WALK {
        let found = batch.events(&open).await?;
        // What is behind an outlier is not known from its place in the graph: it stays an end.
        let refused =
            found.values().filter(|event| event.has(flags::REJECTED | flags::SOFT_FAILED));
        let next: Vec<_> = refused.flat_map(|event| event.pdu.prev_events.clone()).collect();
        open = next.into_iter().filter(|id| followed.insert(id.clone())).collect();
    }
    Ok(followed)
}

/// Whether an accepted event that came earlier follows this one. What this server made now cannot
/// be followed by anything yet.
async fn is_followed(batch: &Batch, event: &StoredEvent) -> Result<bool, Internal> {
    if event.pdu.sender.server_name() == batch.engine.config.server_name {
        return Ok(false);
    }
    has_successor(batch, event).await
}

async fn has_successor(batch: &Batch, event: &StoredEvent) -> Result<bool, Internal> {
    let mut conn = batch.engine.storage.read().await?;
    let event_ids = [event.pdu.event_id.to_string()];
    let found = rows::successors(&mut conn, batch.room.id.as_str(), &event_ids).await?;
    drop(conn);
    let ids: Vec<OwnedEventId> =
        found.into_iter().map(|(_, id)| id.try_into()).collect::<Result<_, _>>()?;
    Ok(batch.events(&ids).await?.values().any(|event| event.is_visible()))
}
