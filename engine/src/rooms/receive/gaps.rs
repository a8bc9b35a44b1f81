//! What lies between what we know and an event that we were sent: the events themselves, or, where
//! there are too many, the state before it.
//!
//! <https://spec.matrix.org/v1.19/server-server-api/#retrieving-missing-events>

use std::sync::Arc;

use ruma::{OwnedEventId, events::TimelineEventType};

use super::{
    Budget,
    fetch::{Events, Peer},
    outliers,
};
use crate::{
    events::{Pdu, store},
    internal::Internal,
    rooms::{batch::Batch, state_at},
    state::trie::EMPTY_ROOT,
};

/// How many events are asked for at a time.
const STEP: u32 = 20;
/// More missing events than this are fetched as a whole state instead of one by one.
const ONE_BY_ONE: usize = 10;

/// The state before an event, as the server says that sent it.
#[derive(Debug)]
pub struct ClaimedState {
    ids: Vec<OwnedEventId>,
    events: Events,
}

/// The events before one, as far as the server gives them, oldest first.
///
/// # Errors
///
/// When our own database fails.
pub async fn events_before(
    peer: &Peer<'_>,
    budget: &mut Budget,
    pdu: &Pdu,
    known: &[OwnedEventId],
) -> Result<Vec<Arc<Pdu>>, Internal> {
    let latest = std::slice::from_ref(&pdu.event_id);
    let mut events = peer.missing_events(budget, known, latest, STEP).await?;
    events.retain(|event| event.event_id != pdu.event_id);
    events.sort_by_key(|event| event.depth);
    Ok(events)
}

/// What the server says the state before an event is, with the events that we lack of it.
///
/// # Errors
///
/// When our own database fails. `None` when the server does not say.
pub async fn claimed_state(
    peer: &Peer<'_>,
    budget: &mut Budget,
    pdu: &Pdu,
) -> Result<Option<ClaimedState>, Internal> {
    let Some(answer) = peer.state_ids(budget, &pdu.event_id).await else { return Ok(None) };
    let all: Vec<_> = answer.pdu_ids.0.iter().chain(&answer.auth_chain_ids.0).cloned().collect();
    let known = store::get_many(peer.engine, peer.room_id, &all).await?;
    let missing: Vec<_> = all.into_iter().filter(|id| !known.contains_key(id)).collect();
    let mut events = Events::new();
    if missing.len() > ONE_BY_ONE {
        events = peer.state(budget, &pdu.event_id).await?;
    } else {
        for event_id in missing {
            if let Some(event) = peer.event(budget, &event_id).await? {
                events.insert(event_id, event);
            }
        }
    }
    Ok(Some(ClaimedState { ids: answer.pdu_ids.0, events }))
}

/// The root of the state before an event, out of what the server says and what we know: the claimed
/// state, and those after the known events before it, merged by the rules of the room.
///
/// # Errors
///
/// When the database fails. `None` when the claimed state is not the state of a room.
pub async fn state_before(
    batch: &mut Batch,
    pdu: &Pdu,
    claimed: &ClaimedState,
) -> Result<Option<i64>, Internal> {
    outliers::add(batch, &claimed.events).await?;
    let events = batch.events(&claimed.ids).await?;
    let state: Vec<_> =
        events.values().map(|event| &event.pdu).filter(|event| !event.rejected).collect();
    if !state.iter().any(|event| event.kind == TimelineEventType::RoomCreate) {
        return Ok(None);
    }
    let entries: Vec<_> = state
        .into_iter()
        .filter_map(|event| Some((event.key()?, Some(event.event_id.clone()))))
        .collect();
    let mut roots = vec![batch.snapshots.apply(EMPTY_ROOT, &entries).await?];
    for event in batch.events(&pdu.prev_events).await?.values() {
        roots.extend(state_at::after(batch, event).await?);
    }
    state_at::merge(batch, roots).await.map(Some)
}
