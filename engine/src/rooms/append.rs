//! The one door for events into rooms: what follows from an event, as a list.
//!
//! An event arrives here with its fate decided. Each consequence is a function in its own module;
//! all of them go into one [`Batch`], which is one change: written wholly or not at all.

pub mod edges;
pub mod extremities;
pub mod guests;
pub mod members;
pub mod openness;
pub mod redactions;
pub mod relations;
pub mod servers;
pub mod state;
pub mod successor;
pub mod timeline;
pub mod unread;

use std::sync::Arc;

use ruma::{OwnedEventId, events::StateEventType};

use starling_storage::{
    At,
    events::{Write, flags},
    rooms,
};

use self::{members::Known, redactions::Place, state::StateChange};
use super::{auth_ranks, batch::Batch, partial};
use crate::{
    events::{Pdu, StoredEvent},
    internal::Internal,
};

/// What became of an event when it was judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disposition {
    /// It is part of the room.
    Accepted,
    /// It is part of the graph, but is not shown, nor built upon.
    SoftFailed,
    /// It is kept so that others can be judged by it, and changes nothing.
    Rejected,
    /// It is known without its place in the graph; whether it is rejected is in its [`Pdu`].
    Outlier,
}

/// An event with its fate.
#[derive(Clone, Debug)]
pub struct NewEvent {
    /// The event.
    pub pdu: Arc<Pdu>,
    /// Root of the state before it; `None` for an outlier.
    pub state_before: Option<i64>,
    /// What became of it.
    pub disposition: Disposition,
    /// Which redaction was applied to it while it was an outlier.
    pub redacted_by: Option<OwnedEventId>,
    /// Whether this deployment made it, and owes it to the other servers in the room.
    pub local: bool,
}

/// Adds an event to a room, with all that follows from it.
///
/// # Errors
///
/// When the database fails. The batch is void then.
pub async fn append(batch: &mut Batch, new: NewEvent) -> Result<(), Internal> {
    let event = keep(batch, &new).await?;
    rank(batch, &event).await?;
    if new.disposition == Disposition::Outlier {
        return redactions::catch_up(batch, &event, Place::Nowhere).await;
    }
    edges::link(batch, &event, new.local).await?;
    if new.disposition != Disposition::Accepted {
        return Ok(());
    }
    extremities::advance(batch, &event).await?;
    let place = show(batch, &event, new.local).await?;
    let changed = state::advance(batch, &event, place).await?;
    follow(batch, &changed, Known::Wholly).await?;
    relate(batch, &event, new.local).await
}

/// Makes an event that had been rejected a part of the room after all, now that the whole state before it
/// is known. What it says about the state is for the caller.
///
/// # Errors
///
/// When the database fails. The batch is void then.
pub(super) async fn accept_late(
    batch: &mut Batch,
    event: &Arc<StoredEvent>,
) -> Result<(), Internal> {
    rank(batch, event).await?;
    extremities::advance(batch, event).await?;
    show(batch, event, false).await?;
    relate(batch, event, false).await
}

/// Puts an accepted event into the timeline, unless it is a redaction that must not be seen yet.
async fn show(
    batch: &mut Batch,
    event: &Arc<StoredEvent>,
    local: bool,
) -> Result<Option<At>, Internal> {
    // Who redacts here waits to see it, and other servers are sent what stands in the timeline.
    match local || !redactions::is_held(batch, event).await? {
        true => timeline::append(batch, event, local).await.map(Some),
        false => Ok(None),
    }
}

/// What an accepted event says of others, and others of it.
async fn relate(batch: &mut Batch, event: &Arc<StoredEvent>, local: bool) -> Result<(), Internal> {
    relations::note(batch, event);
    redactions::apply(batch, event).await?;
    // Nobody can know the ID of an event before this server has made it.
    if local {
        return Ok(());
    }
    redactions::catch_up(batch, event, Place::New).await
}

/// Adds an event of history, from before everything that the room's timeline has: it is shown there,
/// and changes nothing about the present. Newer events are to be added before older ones.
///
/// # Errors
///
/// When the database fails. The batch is void then.
pub async fn backfill(batch: &mut Batch, new: NewEvent) -> Result<(), Internal> {
    let event = keep(batch, &new).await?;
    rank(batch, &event).await?;
    edges::link(batch, &event, false).await?;
    if new.disposition != Disposition::Accepted {
        return Ok(());
    }
    if !redactions::is_held(batch, &event).await? {
        timeline::backfill(batch, &event);
    }
    relations::note(batch, &event);
    redactions::apply(batch, &event).await?;
    redactions::catch_up(batch, &event, Place::History).await
}

/// Makes a state that another server gave the current one, with what follows for members and
/// servers. For a room in which this server was not.
///
/// # Errors
///
/// When the database fails. The batch is void then.
pub async fn adopt_state(batch: &mut Batch, root: i64) -> Result<(), Internal> {
    let changed = state::adopt(batch, root).await?;
    members::follow(batch, &changed, Known::Not).await?;
    servers::follow(batch, &changed).await?;
    openness::follow(batch, &changed).await
}

/// Makes the whole state of a room that was joined with a part of it the current one. No event of it
/// may be left whose state before it is known in part only.
///
/// # Errors
///
/// When the database fails. The batch is void then.
pub async fn complete_state(batch: &mut Batch, root: i64) -> Result<(), Internal> {
    let changed = state::adopt(batch, root).await?;
    let known = Known::InPart { encrypted: is_encrypted(batch).await? };
    follow(batch, &changed, known).await?;
    batch.room.row.flags &= !rooms::flags::PARTIAL_STATE;
    let Some(at) = changed.at else { return Ok(()) };
    let room_id = batch.room.id.to_string();
    batch.change.write(rooms::Write::Partial(rooms::partial::Write::End { room_id, at }));
    Ok(())
}

/// Merges what is current where that was put off while events were added.
///
/// # Errors
///
/// When the database fails. The batch is void then.
pub(super) async fn settle(batch: &mut Batch) -> Result<(), Internal> {
    if !batch.unsettled {
        return Ok(());
    }
    let changed = state::settle(batch).await?;
    follow(batch, &changed, Known::Wholly).await
}

/// What follows from a change of the current state for members, servers and guests.
async fn follow(batch: &mut Batch, changed: &StateChange, known: Known) -> Result<(), Internal> {
    members::follow(batch, changed, known).await?;
    servers::follow(batch, changed).await?;
    guests::follow(batch, changed).await?;
    openness::follow(batch, changed).await
}

async fn is_encrypted(batch: &Batch) -> Result<bool, Internal> {
    let key = (StateEventType::RoomEncryption, String::new());
    let state = batch.state(batch.room.row.current_state, std::slice::from_ref(&key)).await?;
    Ok(state.contains_key(&key))
}

/// How the event ranks, if others may be authorised by it.
async fn rank(batch: &mut Batch, event: &StoredEvent) -> Result<(), Internal> {
    if event.pdu.state_key.is_none() || event.pdu.rejected {
        return Ok(());
    }
    auth_ranks::note(batch, event).await
}

/// The event's row.
async fn keep(batch: &mut Batch, new: &NewEvent) -> Result<Arc<StoredEvent>, Internal> {
    let rejected = new.pdu.rejected || new.disposition == Disposition::Rejected;
    let (mut pdu, mut redacted_by) = (new.pdu.clone(), new.redacted_by.clone());
    // Its redaction may have been added just before.
    if let Some(redacted) = batch.on_the_way(&pdu.event_id).filter(|it| it.redacted_by.is_some()) {
        (pdu, redacted_by) = (redacted.pdu.clone(), redacted.redacted_by.clone());
    }
    if rejected && !pdu.rejected {
        pdu = Arc::new(Pdu { rejected, ..Pdu::clone(&pdu) });
    }
    let mut bits = if rejected { flags::REJECTED } else { 0 };
    bits |= match new.disposition {
        Disposition::Accepted | Disposition::Rejected => 0,
        Disposition::SoftFailed => flags::SOFT_FAILED,
        Disposition::Outlier => flags::OUTLIER,
    };
    if new.state_before.is_some() && partial::follows_part(batch, &new.pdu).await? {
        bits |= flags::PARTIAL_STATE;
    }
    let event = Arc::new(StoredEvent {
        pdu,
        state_before: new.state_before,
        flags: bits,
        redacted_by,
        received_ts: batch.engine.clock.now_ms(),
        sent_by: batch.sent_by.take_if(|_| new.local),
    });
    batch.added.note(new);
    batch.change.write(Write::Put(Box::new(event.to_row())));
    batch.put_event(event.clone());
    Ok(event)
}
