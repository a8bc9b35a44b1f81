//! Asking a server for a whole state.

use std::collections::HashMap;

use ruma::{OwnedEventId, RoomVersionId, events::StateEventType};
use starling_storage::events::flags;

use super::settle::State;
use crate::{
    events::store,
    internal::Internal,
    rooms::{
        batch::{Batch, BatchError, MAX_ATTEMPTS},
        receive::{
            Budget,
            bulk::Bulk,
            fetch::{Events, Peer},
            given, outliers,
        },
        room,
    },
    state::StateKey,
};

/// The events of a state by their keys.
type Entries = HashMap<StateKey, OwnedEventId>;

/// More missing events than this are fetched all at once instead of one by one.
const ONE_BY_ONE: usize = 20;

/// The state after an event, as a server has it, its events stored; `None` when it does not say.
///
/// # Errors
///
/// When our own database fails.
pub(super) async fn state_after(
    peer: &Peer<'_>,
    version: &RoomVersionId,
    event_id: &OwnedEventId,
) -> Result<Option<State>, Internal> {
    let mut budget = Budget::default();
    let Some(mut state) = entries_before(peer, &mut budget, version, event_id).await? else {
        return Ok(None);
    };
    store_each(peer, &mut budget, std::slice::from_ref(event_id)).await?;
    let Some(event) = store::get(peer.engine, peer.room_id, event_id).await? else {
        return Ok(None);
    };
    if let Some(key) = event.pdu.key().filter(|_| !event.has(flags::REJECTED)) {
        state.insert(key, event_id.clone());
    }
    Ok(usable(peer, state))
}

/// The state before an event that is here, as a server has it, its events stored; `None` when it does not
/// say.
///
/// # Errors
///
/// When our own database fails.
pub(super) async fn state_before(
    peer: &Peer<'_>,
    version: &RoomVersionId,
    event_id: &OwnedEventId,
) -> Result<Option<State>, Internal> {
    let state = entries_before(peer, &mut Budget::default(), version, event_id).await?;
    Ok(state.and_then(|state| usable(peer, state)))
}

fn usable(peer: &Peer<'_>, state: Entries) -> Option<State> {
    if !state.contains_key(&(StateEventType::RoomCreate, String::new())) {
        tracing::info!(server.name = %peer.server, room.id = %peer.room_id,
            "A state without a create event is of no use");
        return None;
    }
    Some(state.into_iter().map(|(key, id)| (key, Some(id))).collect())
}

async fn entries_before(
    peer: &Peer<'_>,
    budget: &mut Budget,
    version: &RoomVersionId,
    event_id: &OwnedEventId,
) -> Result<Option<Entries>, Internal> {
    let Some(answer) = peer.state_ids(budget, event_id).await else { return Ok(None) };
    let (mut ids, auth_ids) = (answer.pdu_ids.0, answer.auth_chain_ids.0);
    let Peer { engine, server, room_id, rules } = *peer;
    let mut lacking = given::missing(engine, room_id, ids.iter().chain(&auth_ids)).await?;
    drop(auth_ids);
    if lacking.len() <= ONE_BY_ONE {
        store_each(peer, budget, &lacking).await?;
        lacking = given::missing(engine, room_id, &lacking).await?;
    }
    let is_lacking = !lacking.is_empty();
    drop(lacking);
    // Servers do not give each event of a state that they do give as a whole.
    if is_lacking {
        let Some(texts) = peer.state_texts(budget, event_id).await else { return Ok(None) };
        Bulk { engine, server, room_id, version, rules }.take(&texts).await?;
    }
    // The event itself is not in the state before it, whoever says so.
    ids.retain(|id| id != event_id);
    Ok(Some(given::state(engine, room_id, &ids).await?.into_iter().collect()))
}

/// Asks for those of the events that are not stored, and stores them.
async fn store_each(
    peer: &Peer<'_>,
    budget: &mut Budget,
    ids: &[OwnedEventId],
) -> Result<(), Internal> {
    let known = store::get_many(peer.engine, peer.room_id, ids).await?;
    let mut events = Events::new();
    for event_id in ids.iter().filter(|id| !known.contains_key(*id)) {
        events.extend(peer.event(budget, event_id).await?.map(|event| (event_id.clone(), event)));
    }
    if events.is_empty() {
        return Ok(());
    }
    let Some(mut guard) = room::lock(peer.engine, peer.room_id).await? else { return Ok(()) };
    for _ in 0..MAX_ATTEMPTS {
        let mut batch = Batch::new(peer.engine, &guard);
        outliers::add(&mut batch, &events).await?;
        match batch.commit(&mut guard).await {
            Ok(_) => return Ok(()),
            Err(BatchError::Conflict) => {}
            Err(BatchError::Internal(error)) => return Err(error),
            Err(error) => return Err(Internal::Damaged(error.to_string())),
        }
    }
    Err(Internal::Damaged(format!("{} changes too fast", peer.room_id)))
}
