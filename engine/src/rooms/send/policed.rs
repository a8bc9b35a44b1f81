//! Events of rooms that have a policy server: made while the room is held, signed by that server while it
//! is not, and put into the room as it is by then.

use std::sync::Arc;

use ruma::{OwnedEventId, RoomId};

use super::{SendError, Transaction, done_before, note_transaction, prepare, says_the_same};
use crate::{
    Engine,
    events::Pdu,
    internal::Internal,
    presence,
    rooms::{
        append::{self, Disposition},
        batch::{Batch, BatchError, MAX_ATTEMPTS},
        build::{self, Draft},
        policy::{self, PolicyServer},
        receive::judge::{self, Judged},
        room::{self, RoomGuard},
    },
};

/// The policy server that is to be asked before a draft becomes an event.
pub(super) async fn to_ask(
    engine: &Engine,
    guard: &RoomGuard,
    draft: &Draft,
) -> Result<Option<PolicyServer>, Internal> {
    if policy::is_exempt(&draft.kind.to_string(), draft.state_key.as_deref()) {
        return Ok(None);
    }
    policy::of(&Batch::new(engine, guard)).await
}

/// Makes one event, has it signed and commits it.
pub(super) async fn one(
    engine: &Engine,
    guard: RoomGuard,
    draft: &Draft,
    transaction: Option<&Transaction>,
    server: &PolicyServer,
) -> Result<OwnedEventId, SendError> {
    let mut batch = Batch::new(engine, &guard);
    let before = prepare(&batch, draft).await?;
    let (pdu, _) = build::compose(&mut batch, draft).await?;
    if let Some(same) = before.filter(|before| says_the_same(before, &pdu, &guard)) {
        return Ok(same.event_id.clone());
    }
    let version = guard.version.clone();
    drop(guard);
    let pdu = policy::ask(engine, server, &pdu, &version.1).await?;
    let event_id = put(engine, &pdu.room_id, &pdu, draft, transaction).await?;
    presence::note_active(engine, &draft.sender).await;
    Ok(event_id)
}

async fn put(
    engine: &Engine,
    room_id: &RoomId,
    pdu: &Arc<Pdu>,
    draft: &Draft,
    transaction: Option<&Transaction>,
) -> Result<OwnedEventId, SendError> {
    let mut guard = room::lock(engine, room_id).await?.ok_or(SendError::NotInRoom)?;
    if let Some(done) = done_before(engine, &draft.sender, transaction).await? {
        return Ok(done);
    }
    for _ in 0..MAX_ATTEMPTS {
        let mut batch = Batch::new(engine, &guard);
        prepare(&batch, draft).await?;
        batch.sent_by = transaction.map(Transaction::sent_by);
        match judge::judge(&mut batch, pdu, None).await? {
            Judged::Ready(mut new) if new.disposition == Disposition::Accepted => {
                new.local = true;
                append::append(&mut batch, new).await?;
            }
            _ => {
                let reason = "the room changed so that this is not allowed any more";
                return Err(SendError::Forbidden(reason.to_owned()));
            }
        }
        note_transaction(&mut batch, pdu, transaction);
        match batch.commit(&mut guard).await {
            Ok(_) => return Ok(pdu.event_id.clone()),
            Err(BatchError::TransactionTaken(event_id)) => return Ok(event_id),
            Err(BatchError::Conflict) => {}
            Err(BatchError::NameTaken) => return Err(SendError::NameTaken),
            Err(BatchError::Internal(error)) => return Err(error.into()),
        }
    }
    Err(SendError::Internal(Internal::Damaged(format!("{room_id} changes too fast"))))
}
