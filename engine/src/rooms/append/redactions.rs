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
        None => batch.change.write(Write::PendingRedaction {
            room_id: batch.room.id.to_string(),
            target_id: target_id.to_string(),
            redaction_id: event.pdu.event_id.to_string(),
        }),
    }
    Ok(())
}

/// Applies the redactions that came before their target, and shows them where they were held back.
pub(super) async fn catch_up(
    batch: &mut Batch,
    target: &Arc<StoredEvent>,
    local: bool,
) -> Result<(), Internal> {
    // Nobody can know the ID of an event before this server has made it.
    if local {
        return Ok(());
    }
    for redaction_id in waiting(batch, target).await? {
        let Some(redaction) = batch.event(&redaction_id).await? else { continue };
        if !redaction.is_visible() || !may_redact(batch, &redaction, target).await? {
            continue;
        }
        redact(batch, &redaction, target)?;
        if !batch.room.rules().authorization.special_case_room_redaction {
            timeline::append(batch, &redaction, false).await?;
        }
    }
    Ok(())
}

async fn waiting(batch: &mut Batch, target: &StoredEvent) -> Result<Vec<OwnedEventId>, Internal> {
    let room_id = batch.room.id.to_string();
    let target_id = target.pdu.event_id.to_string();
    let mut conn = batch.engine.storage.read().await?;
    let found = rows::pending_redactions(&mut conn, &room_id, std::slice::from_ref(&target_id));
    let found = found.await?;
    drop(conn);
    if !found.is_empty() {
        batch.change.write(Write::RedactionsDone { room_id, target_id });
    }
    let ids = found.into_iter().take(MAX_PENDING).map(|(_, id)| id.try_into());
    Ok(ids.collect::<Result<_, _>>()?)
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
