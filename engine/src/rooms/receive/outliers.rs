//! Events that came without their place in the graph, to judge others by: state, and what authorises
//! it.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use ruma::{
    EventId, OwnedEventId,
    events::{StateEventType, TimelineEventType},
};

use crate::{
    events::Pdu,
    internal::Internal,
    rooms::{
        append::{self, Disposition, NewEvent, redactions},
        authorize::{self, Denied},
        batch::Batch,
        checks,
    },
};

/// Adds those of the events that are not known yet and that can be judged by their auth events. The
/// others are left out, as if they had not come.
///
/// The events must have been verified and be of the batch's room.
///
/// # Errors
///
/// When the database fails.
pub async fn add(
    batch: &mut Batch,
    events: &HashMap<OwnedEventId, Arc<Pdu>>,
) -> Result<(), Internal> {
    add_in_order(batch, &in_order(events)).await
}

/// As [`add`], of events each of which stands after those that authorise it.
///
/// # Errors
///
/// When the database fails.
pub async fn add_in_order(batch: &mut Batch, events: &[Arc<Pdu>]) -> Result<(), Internal> {
    let ids: Vec<OwnedEventId> = events.iter().map(|pdu| pdu.event_id.clone()).collect();
    redactions::expect(batch, &ids).await?;
    let known = batch.events(&ids).await?;
    let named = auth_events(batch, events);
    let auth = batch.events(&named).await?;
    let create = create_event(batch, events).await?;
    for pdu in events {
        if known.contains_key(&pdu.event_id) || batch.on_the_way(&pdu.event_id).is_some() {
            continue;
        }
        let fetch = |id: &EventId| {
            let event = auth.get(id).or_else(|| batch.on_the_way(id))?;
            Some(event.pdu.clone())
        };
        let checked = authorize::check_only_create(pdu, || create.clone())
            .and_then(|()| checks::check_auth_events(pdu, batch.room.rules(), fetch));
        let rejected = match checked {
            Ok(()) => false,
            Err(Denied::Missing(_)) => continue,
            Err(denied) => {
                tracing::info!(event.id = %pdu.event_id, reason = %denied, "An outlier is rejected");
                true
            }
        };
        let pdu = match pdu.rejected == rejected {
            true => pdu.clone(),
            false => Arc::new(Pdu { rejected, ..Pdu::clone(pdu) }),
        };
        let disposition = Disposition::Outlier;
        let new =
            NewEvent { pdu, state_before: None, disposition, redacted_by: None, local: false };
        append::append(batch, new).await?;
    }
    Ok(())
}

/// The create event of the room, where it has one and one of the events claims to be that.
async fn create_event(batch: &Batch, events: &[Arc<Pdu>]) -> Result<Option<Arc<Pdu>>, Internal> {
    if !events.iter().any(|pdu| is_create(pdu)) {
        return Ok(None);
    }
    let key = (StateEventType::RoomCreate, String::new());
    let mut state = batch.state(batch.room.row.current_state, std::slice::from_ref(&key)).await?;
    Ok(state.remove(&key))
}

/// The events that authorise some, each once.
fn auth_events(batch: &Batch, events: &[Arc<Pdu>]) -> Vec<OwnedEventId> {
    let create = authorize::create_event_id(&batch.room.id, &batch.room.rules().authorization);
    let named: HashSet<&OwnedEventId> =
        events.iter().flat_map(|pdu| &pdu.auth_events).chain(&create).collect();
    named.into_iter().cloned().collect()
}

/// Every event after those that authorise it; the create event, which since room version 12 none
/// names, first. A cycle, which no hash allows, is cut somewhere.
fn in_order(events: &HashMap<OwnedEventId, Arc<Pdu>>) -> Vec<Arc<Pdu>> {
    let mut ids: Vec<&OwnedEventId> = events.keys().collect();
    // The last is taken first.
    ids.sort_by_key(|id| (events.get(*id).is_some_and(|pdu| is_create(pdu)), *id));
    let (mut ordered, mut entered) = (Vec::with_capacity(ids.len()), HashSet::new());
    let mut stack: Vec<(&OwnedEventId, bool)> = ids.into_iter().map(|id| (id, false)).collect();
    while let Some((id, left)) = stack.pop() {
        let Some(pdu) = events.get(id) else { continue };
        if left {
            ordered.push(pdu.clone());
        } else if entered.insert(id) {
            stack.push((id, true));
            stack.extend(pdu.auth_events.iter().map(|id| (id, false)));
        }
    }
    ordered
}

fn is_create(pdu: &Pdu) -> bool {
    pdu.kind == TimelineEventType::RoomCreate
}
