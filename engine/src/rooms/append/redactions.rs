//! Redactions: applied when the redaction and its target are both known and the redaction may.
//!
//! In room versions 1 and 2 the authorisation rules decide; since version 3 a redaction that may not
//! (yet) be applied is part of the room, but is not shown.
//!
//! <https://spec.matrix.org/v1.19/rooms/v3/#handling-redactions>

use std::sync::Arc;

use ruma::{OwnedEventId, events::TimelineEventType};
use starling_storage::{
    events::{self as rows, Write, flags},
    timeline as entries,
    unread::Write::Uncount,
};

use super::timeline;
use crate::{
    events::{StoredEvent, redact},
    internal::Internal,
    rooms::{
        batch::Batch,
        power::{self, Action, Powers},
    },
};

/// How many redactions of one event are looked at.
const MAX_PENDING: usize = 20;

/// For how many events it is looked up at a time which redactions wait for them.
const LOOKED_UP: usize = 1_000;

/// Whether an event is a redaction that clients must not see yet.
pub(super) async fn is_held(batch: &Batch, event: &StoredEvent) -> Result<bool, Internal> {
    if event.pdu.kind != TimelineEventType::RoomRedaction {
        return Ok(false);
    }
    if batch.room.rules().authorization.special_case_room_redaction {
        return Ok(false);
    }
    let Some(target_id) = &event.pdu.redacts else { return Ok(true) };
    match batch.event(target_id).await? {
        Some(target) => Ok(!may_redact(batch, event, &target).await?),
        None => Ok(true),
    }
}

/// Applies a redaction to its target, or notes it until the target comes.
pub(super) async fn apply(batch: &mut Batch, event: &StoredEvent) -> Result<(), Internal> {
    let Some(target_id) = event.pdu.redacts.clone() else { return Ok(()) };
    match batch.event(&target_id).await? {
        Some(target) => {
            if may_redact(batch, event, &target).await? {
                redact(batch, event, &target)?;
            }
        }
        None => {
            let redaction_id = event.pdu.event_id.clone();
            batch.change.write(Write::PendingRedaction {
                room_id: batch.room.id.to_string(),
                target_id: target_id.to_string(),
                redaction_id: redaction_id.to_string(),
            });
            batch.waiting.new.entry(target_id).or_default().push(redaction_id);
        }
    }
    Ok(())
}

/// Where a redaction is shown whose target has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// At the end of the timeline.
    New,
    /// In the past, with its target.
    History,
    /// Not yet: the target has no place itself.
    Nowhere,
}

/// Applies the redactions that came before their target, and shows them where they were held back.
pub(super) async fn catch_up(
    batch: &mut Batch,
    target: &Arc<StoredEvent>,
    place: Place,
) -> Result<(), Internal> {
    for redaction_id in waiting(batch, target, place).await? {
        let Some(redaction) = batch.event(&redaction_id).await? else { continue };
        if !redaction.is_visible() || !may_redact(batch, &redaction, target).await? {
            continue;
        }
        redact(batch, &redaction, target)?;
        show(batch, &redaction, place).await?;
    }
    Ok(())
}

/// Shows a redaction, unless it is shown already: it is of a room version that holds none back, or
/// of our own making.
async fn show(batch: &mut Batch, redaction: &StoredEvent, place: Place) -> Result<(), Internal> {
    if place == Place::Nowhere || batch.room.rules().authorization.special_case_room_redaction {
        return Ok(());
    }
    let (room_id, event_id) = (batch.room.id.as_str(), redaction.pdu.event_id.as_str());
    let mut conn = batch.engine.storage.read().await?;
    let is_shown = entries::find(&mut conn, room_id, event_id).await?.is_some();
    drop(conn);
    match place {
        _ if is_shown => {}
        Place::New => drop(timeline::append(batch, redaction, false).await?),
        _ => timeline::backfill(batch, redaction),
    }
    Ok(())
}

/// The redactions that wait for an event; once it has its place they wait no longer.
async fn waiting(
    batch: &mut Batch,
    target: &StoredEvent,
    place: Place,
) -> Result<Vec<OwnedEventId>, Internal> {
    let target_id = &target.pdu.event_id;
    let mut ids = batch.waiting.new.get(target_id).cloned().unwrap_or_default();
    let has_place = place != Place::Nowhere;
    expect(batch, std::slice::from_ref(target_id)).await?;
    ids.extend(batch.waiting.stored.get(target_id).into_iter().flatten().cloned());
    if has_place && !ids.is_empty() {
        let (room_id, target_id) = (batch.room.id.to_string(), target_id.to_string());
        batch.change.write(Write::RedactionsDone { room_id, target_id });
    }
    ids.truncate(MAX_PENDING);
    Ok(ids)
}

/// Looks up together which redactions wait for some events that are about to be added.
pub async fn expect(batch: &mut Batch, targets: &[OwnedEventId]) -> Result<(), Internal> {
    let unknown = targets.iter().filter(|id| !batch.waiting.stored.contains_key(*id));
    let unknown: Vec<OwnedEventId> = unknown.cloned().collect();
    if unknown.is_empty() || !any_stored(batch).await? {
        return Ok(());
    }
    let ids: Vec<String> = unknown.iter().map(ToString::to_string).collect();
    let mut conn = batch.engine.storage.read().await?;
    for ids in ids.chunks(LOOKED_UP) {
        let found = rows::pending_redactions(&mut conn, batch.room.id.as_str(), ids).await?;
        for (target, id) in found {
            batch.waiting.stored.entry(target.try_into()?).or_default().push(id.try_into()?);
        }
    }
    for target in unknown {
        batch.waiting.stored.entry(target).or_default();
    }
    Ok(())
}

/// Whether any redaction waits in the room. Mostly there is none, and whole states of events need not
/// be looked up one by one.
async fn any_stored(batch: &mut Batch) -> Result<bool, Internal> {
    if let Some(known) = batch.waiting.any_stored {
        return Ok(known);
    }
    let mut conn = batch.engine.storage.read().await?;
    let found = rows::has_pending_redactions(&mut conn, batch.room.id.as_str()).await?;
    drop(conn);
    batch.waiting.any_stored = Some(found);
    Ok(found)
}

/// Whether the sender of the redaction has the power, or is of the server of the target's sender.
async fn may_redact(
    batch: &Batch,
    redaction: &StoredEvent,
    target: &StoredEvent,
) -> Result<bool, Internal> {
    if !redaction.is_visible() || target.has(flags::REJECTED) {
        return Ok(false);
    }
    let rules = &batch.room.rules().authorization;
    let (by, of) = (&redaction.pdu.sender, &target.pdu.sender);
    if rules.special_case_room_redaction || by.server_name() == of.server_name() {
        return Ok(true);
    }
    let Some(root) = redaction.state_before else { return Ok(false) };
    let state = batch.state(root, &power::state_keys()).await?;
    Ok(Powers::new(&state, rules).allow(by, Action::Redact))
}

/// Replaces the target by what its redaction leaves of it.
fn redact(
    batch: &mut Batch,
    redaction: &StoredEvent,
    target: &StoredEvent,
) -> Result<(), Internal> {
    if target.redacted_by.is_some() {
        return Ok(());
    }
    let pdu = redact::redact(&target.pdu, batch.room.rules());
    let pdu = pdu.map_err(|error| Internal::Damaged(error.to_string()))?;
    let (room_id, event_id) = (batch.room.id.to_string(), pdu.event_id.to_string());
    batch.change.write(Write::Redact {
        room_id: room_id.clone(),
        event_id: event_id.clone(),
        redacted_by: redaction.pdu.event_id.to_string(),
        json: pdu.json.get().to_owned(),
    });
    let uncount = Uncount { room_id: room_id.clone(), event_id: event_id.clone() };
    batch.change.write(uncount);
    batch.change.write(Write::Unrelate { room_id, event_id });
    batch.put_event(Arc::new(StoredEvent {
        pdu: Arc::new(pdu),
        redacted_by: Some(redaction.pdu.event_id.clone()),
        ..target.clone()
    }));
    Ok(())
}

#[cfg(test)]
mod tests;
