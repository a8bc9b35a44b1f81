//! Mere messages: events that change no state and say nothing of other events. The room is let go while
//! they are on their way to the disk, so that what many say at once is written together.

use ruma::{OwnedEventId, RoomId, events::TimelineEventType};

use super::{SendError, Transaction, done_before, note_transaction, policed};
use crate::{
    Engine, presence,
    rooms::{
        append::relations,
        batch::{Batch, BatchError},
        build::{self, Draft},
        room,
    },
};

/// Makes one event and commits it; `None` when that has to be done in the other way.
pub(super) async fn one(
    engine: &Engine,
    room_id: &RoomId,
    draft: &Draft,
    transaction: Option<&Transaction>,
) -> Result<Option<OwnedEventId>, SendError> {
    if !is_mere_message(draft) {
        return Ok(None);
    }
    let guard = room::lock_ahead(engine, room_id).await?.ok_or(SendError::NotInRoom)?;
    if let Some(done) = done_before(engine, &draft.sender, transaction).await? {
        return Ok(Some(done));
    }
    // Where the graph has several ends, the event may merge the states after them.
    let merges = guard.extremities.len() != 1 || guard.is_partial();
    if merges || policed::to_ask(engine, &guard, draft).await?.is_some() {
        return Ok(None);
    }
    let mut batch = Batch::new(engine, &guard);
    batch.sent_by = transaction.map(Transaction::sent_by);
    let pdu = build::author(&mut batch, draft).await?;
    note_transaction(&mut batch, &pdu, transaction);
    match batch.commit_ahead(guard, &pdu.event_id).await {
        Ok(()) => {
            presence::note_active(engine, &draft.sender).await;
            Ok(Some(pdu.event_id.clone()))
        }
        Err(BatchError::TransactionTaken(event_id)) => Ok(Some(event_id)),
        // What it was built upon was not written.
        Err(BatchError::Conflict) => Ok(None),
        Err(BatchError::NameTaken) => Err(SendError::NameTaken),
        Err(BatchError::Internal(error)) => Err(error.into()),
    }
}

fn is_mere_message(draft: &Draft) -> bool {
    draft.state_key.is_none()
        && draft.redacts.is_none()
        && draft.kind != TimelineEventType::RoomRedaction
        && relations::of_content(&draft.content).is_none()
}
