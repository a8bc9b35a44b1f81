//! What lies between what we know and an event that we were sent: the events themselves, or, where
//! there are too many, the state before it.
//!
//! <https://spec.matrix.org/v1.19/server-server-api/#retrieving-missing-events>

use std::{collections::HashMap, sync::Arc};

use ruma::{OwnedEventId, events::StateEventType};

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
/// Who gives less has no more: as many are given to who does not say how many they want.
pub const FEW: usize = 10;
/// More missing events than this are fetched as a whole state instead of one by one.
const ONE_BY_ONE: usize = 10;
/// With more unknown events before it than this, the state before an event is asked for as a whole.
const MOST_UNKNOWN: usize = 3;

/// A state, as the server says that sent an event: that before some event.
#[derive(Debug)]
struct Told {
    ids: Vec<OwnedEventId>,
    /// That event, if its own place in the state is to be added.
    then: Option<OwnedEventId>,
}

/// What the server that sent an event says of the state before it.
#[derive(Debug)]
pub struct ClaimedState {
    states: Vec<Told>,
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

/// What the server says the state before an event is, with the events that we lack of it: the states after
/// the events before it that are not known, or else the state before the event as a whole.
///
/// # Errors
///
/// When our own database fails. `None` when the server does not say.
pub async fn claimed_state(
    peer: &Peer<'_>,
    budget: &mut Budget,
    pdu: &Pdu,
) -> Result<Option<ClaimedState>, Internal> {
    if let Some(claimed) = after_those_before(peer, budget, pdu).await? {
        return Ok(Some(claimed));
    }
    let mut claimed = ClaimedState { states: vec![], events: Events::new() };
    let is_told = claimed.ask(peer, budget, &pdu.event_id, None).await?;
    Ok(is_told.then_some(claimed))
}

/// The states after the events before one that are not known.
async fn after_those_before(
    peer: &Peer<'_>,
    budget: &mut Budget,
    pdu: &Pdu,
) -> Result<Option<ClaimedState>, Internal> {
    let known = store::get_many(peer.engine, peer.room_id, &pdu.prev_events).await?;
    let in_place = |id: &&OwnedEventId| known.get(*id).is_some_and(|event| event.is_in_place());
    let unknown: Vec<&OwnedEventId> = pdu.prev_events.iter().filter(|id| !in_place(id)).collect();
    if unknown.is_empty() || unknown.len() > MOST_UNKNOWN {
        return Ok(None);
    }
    let mut claimed = ClaimedState { states: vec![], events: Events::new() };
    for event_id in unknown {
        if !known.contains_key(event_id) && !claimed.events.contains_key(event_id) {
            let Some(event) = peer.event(budget, event_id).await? else { return Ok(None) };
            claimed.events.insert(event_id.clone(), event);
        }
        if !claimed.ask(peer, budget, event_id, Some(event_id)).await? {
            return Ok(None);
        }
    }
    Ok(Some(claimed))
}

impl ClaimedState {
    /// Adds the state before an event, as the server says; whether it does.
    async fn ask(
        &mut self,
        peer: &Peer<'_>,
        budget: &mut Budget,
        event_id: &OwnedEventId,
        then: Option<&OwnedEventId>,
    ) -> Result<bool, Internal> {
        let Some(answer) = peer.state_ids(budget, event_id).await else { return Ok(false) };
        let all = answer.pdu_ids.0.iter().chain(&answer.auth_chain_ids.0);
        let all: Vec<_> = all.filter(|id| !self.events.contains_key(*id)).cloned().collect();
        let known = store::get_many(peer.engine, peer.room_id, &all).await?;
        let missing: Vec<_> = all.into_iter().filter(|id| !known.contains_key(id)).collect();
        let mut is_lacking = missing.len() > ONE_BY_ONE;
        for event_id in missing {
            if is_lacking {
                break;
            }
            match peer.event(budget, &event_id).await? {
                Some(event) => drop(self.events.insert(event_id, event)),
                None => is_lacking = true,
            }
        }
        // Servers do not give each event of a state that they do give as a whole.
        if is_lacking {
            let events = peer.state(budget, event_id).await?;
            // An event that cannot be verified is left out, for ever; one that was not told may come yet.
            if events.is_empty() {
                return Ok(false);
            }
            self.events.extend(events);
        }
        self.states.push(Told { ids: answer.pdu_ids.0, then: then.cloned() });
        Ok(true)
    }
}

/// The root of the state before an event, out of what the server says and what we know: the claimed
/// states, and those after the known events before it, merged by the rules of the room.
///
/// # Errors
///
/// When the database fails. `None` when a claimed state is not the state of a room.
pub async fn state_before(
    batch: &mut Batch,
    pdu: &Pdu,
    claimed: &ClaimedState,
) -> Result<Option<i64>, Internal> {
    outliers::add(batch, &claimed.events).await?;
    let mut roots = Vec::new();
    for told in &claimed.states {
        let Some(root) = root(batch, told).await? else { return Ok(None) };
        roots.push(root);
    }
    for event in batch.events(&pdu.prev_events).await?.values() {
        roots.extend(state_at::after(batch, event).await?);
    }
    state_at::merge(batch, roots).await.map(Some)
}

async fn root(batch: &mut Batch, told: &Told) -> Result<Option<i64>, Internal> {
    let ids: Vec<OwnedEventId> = told.ids.iter().chain(&told.then).cloned().collect();
    let events = batch.events(&ids).await?;
    let mut state = HashMap::new();
    // The event's own place comes last.
    for event in ids.iter().filter_map(|id| events.get(id)).filter(|event| !event.pdu.rejected) {
        if let Some(key) = event.pdu.key() {
            state.insert(key, event.pdu.event_id.clone());
        }
    }
    if !state.contains_key(&(StateEventType::RoomCreate, String::new())) {
        return Ok(None);
    }
    let entries: Vec<_> = state.into_iter().map(|(key, id)| (key, Some(id))).collect();
    batch.snapshots.apply(EMPTY_ROOT, &entries).await.map(Some)
}
