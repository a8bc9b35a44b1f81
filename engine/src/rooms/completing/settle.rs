//! Judging anew what came while only a part of the state was known, and making the whole state the
//! current one when nothing of that is left.

use std::{collections::HashMap, sync::Arc};

use ruma::{OwnedEventId, RoomId};
use starling_storage::{
    events::{self, flags},
    rooms::{
        Write,
        partial::{self as rows, PartialRow},
    },
};

use super::{Lacking, missed};
use crate::{
    Engine,
    events::{Pdu, StoredEvent},
    internal::Internal,
    rooms::{
        append::{self, extremities},
        batch::{Batch, BatchError, MAX_ATTEMPTS},
        receive::judge,
        room::{self, RoomGuard},
        state_at,
    },
    state::{EMPTY_ROOT, StateKey},
};

/// How many events are settled in one change.
const PAGE: i64 = 100;

/// A whole state.
pub(super) type State = Vec<(StateKey, Option<OwnedEventId>)>;

/// The states at some events, as other servers say.
#[derive(Debug, Default)]
pub(super) struct States {
    /// After events that are not here; `None`: nobody says.
    pub(super) after: HashMap<OwnedEventId, Option<State>>,
    /// Before events that are here, where nobody says what holds after those that they follow.
    pub(super) before: HashMap<OwnedEventId, State>,
}

/// How far it got.
#[derive(Debug)]
pub(super) enum Settled {
    /// The whole state of the room is known.
    Whole,
    /// There is no such room, or nothing to do.
    Gone,
    /// The states after these events are needed first.
    Lacks(Lacking),
}

/// What can be said of the state before an event.
enum Before {
    /// Its root.
    Known(i64),
    /// Another event has to be settled first.
    Waits,
    /// States have to be asked for.
    Lacks(Lacking),
}

/// What a walk over the events that are left came to.
#[derive(Debug, Default)]
struct Walk {
    settled: usize,
    left: usize,
    lacks: Option<Lacking>,
}

/// Settles what can be settled.
///
/// # Errors
///
/// When the database fails.
pub(super) async fn settle(
    engine: &Engine,
    row: &PartialRow,
    states: &States,
) -> Result<Settled, Internal> {
    let room_id = <&RoomId>::try_from(row.room_id.as_str())?;
    loop {
        let walk = walk(engine, room_id, states).await?;
        if walk.left == 0 {
            return finish(engine, row, room_id).await;
        }
        if let Some(lacks) = walk.lacks.filter(|_| walk.settled == 0) {
            return Ok(Settled::Lacks(lacks));
        }
        if walk.settled == 0 {
            // Events that claim to follow each other, as those of the first room versions can.
            return give_up(engine, room_id).await.map(|()| Settled::Whole);
        }
    }
}

/// Takes the events that are left, from the shallowest on.
async fn walk(engine: &Engine, room_id: &RoomId, states: &States) -> Result<Walk, Internal> {
    let mut walk = Walk::default();
    let mut after = (i64::MIN, String::new());
    loop {
        let mut conn = engine.storage.read().await?;
        let page = rows::events(&mut conn, room_id.as_str(), (after.0, &after.1), PAGE).await?;
        drop(conn);
        let Some((last, depth)) = page.last().cloned() else { return Ok(walk) };
        after = (depth, last);
        let ids = page.into_iter().map(|(id, _)| id.try_into()).collect::<Result<Vec<_>, _>>()?;
        let Some(mut guard) = room::lock(engine, room_id).await? else { return Ok(walk) };
        settle_page(&mut guard, engine, &ids, states, &mut walk).await?;
    }
}

async fn settle_page(
    guard: &mut RoomGuard,
    engine: &Engine,
    ids: &[OwnedEventId],
    states: &States,
    walk: &mut Walk,
) -> Result<(), Internal> {
    for _ in 0..MAX_ATTEMPTS {
        let mut batch = Batch::new(engine, guard);
        let (mut settled, mut left, mut lacks) = (0, 0, None);
        for event_id in ids {
            let event = batch.event(event_id).await?;
            let Some(event) = event.filter(|event| event.has(flags::PARTIAL_STATE)) else {
                continue;
            };
            match before(&mut batch, &event, states).await? {
                Before::Known(root) => {
                    settle_one(&mut batch, &event, root).await?;
                    settled += 1;
                }
                Before::Waits => left += 1,
                Before::Lacks(lacking) => {
                    left += 1;
                    lacks.get_or_insert(lacking);
                }
            }
        }
        if settled > 0 && !written(batch, guard).await? {
            continue;
        }
        walk.settled += settled;
        walk.left += left;
        walk.lacks = walk.lacks.take().or(lacks);
        return Ok(());
    }
    Err(Internal::Damaged(format!("{} changes too fast", guard.id)))
}

/// Commits; `false` when the room changed meanwhile.
async fn written(batch: Batch, guard: &mut RoomGuard) -> Result<bool, Internal> {
    match batch.commit(guard).await {
        Ok(_) => Ok(true),
        Err(BatchError::Conflict) => Ok(false),
        Err(BatchError::Internal(error)) => Err(error),
        Err(error) => Err(Internal::Damaged(error.to_string())),
    }
}

/// The state before an event: that after the events it follows, be they here or told by others.
async fn before(
    batch: &mut Batch,
    event: &StoredEvent,
    states: &States,
) -> Result<Before, Internal> {
    if let Some(state) = states.before.get(&event.pdu.event_id) {
        return Ok(Before::Known(batch.snapshots.apply(EMPTY_ROOT, state).await?));
    }
    let known = batch.events(&event.pdu.prev_events).await?;
    // Our own event is a join, whose predecessors the server named by which we came.
    let is_own = event.pdu.sender.server_name() == batch.engine.config.server_name;
    let (mut roots, mut lacking) = (Vec::new(), Vec::new());
    for prev_id in &event.pdu.prev_events {
        match known.get(prev_id).filter(|prev| prev.is_in_place()) {
            Some(prev) if prev.has(flags::PARTIAL_STATE) => return Ok(Before::Waits),
            Some(prev) => roots.extend(state_at::after(batch, prev).await?),
            None => match states.after.get(prev_id) {
                Some(Some(state)) => roots.push(batch.snapshots.apply(EMPTY_ROOT, state).await?),
                // Whoever names an event that nobody knows must not keep the room from being completed.
                Some(None) if !is_own => {}
                _ => lacking.push(prev_id.clone()),
            },
        }
    }
    let before = event.pdu.event_id.clone();
    if !lacking.is_empty() {
        let is_vital = is_own || roots.is_empty();
        return Ok(Before::Lacks(Lacking { after: lacking, before, is_vital }));
    }
    if roots.is_empty() {
        let after = event.pdu.prev_events.clone();
        return Ok(Before::Lacks(Lacking { after, before, is_vital: true }));
    }
    Ok(Before::Known(state_at::merge(batch, roots).await?))
}

/// Judges an event by the whole state before it.
async fn settle_one(batch: &mut Batch, event: &StoredEvent, root: i64) -> Result<(), Internal> {
    let rejected = !judge::holds(batch, &event.pdu, root).await?;
    let mut bits = event.flags & !(flags::PARTIAL_STATE | flags::REJECTED);
    if rejected {
        bits |= flags::REJECTED;
    }
    let settled = Arc::new(StoredEvent {
        pdu: Arc::new(Pdu { rejected, ..Pdu::clone(&event.pdu) }),
        state_before: Some(root),
        flags: bits,
        ..event.clone()
    });
    batch.change.write(events::Write::Put(Box::new(settled.to_row())));
    batch.put_event(settled.clone());
    match (event.is_visible(), settled.is_visible()) {
        (true, false) => {
            tracing::info!(event.id = %event.pdu.event_id, room.id = %event.pdu.room_id,
                "An event is rejected now that the whole state before it is known");
            extremities::withdraw(batch, &settled).await
        }
        (false, true) => append::accept_late(batch, &settled).await,
        _ => Ok(()),
    }
}

/// Makes the whole state the current one.
async fn finish(engine: &Engine, row: &PartialRow, room_id: &RoomId) -> Result<Settled, Internal> {
    let Some(mut guard) = room::lock(engine, room_id).await? else { return Ok(Settled::Gone) };
    for _ in 0..MAX_ATTEMPTS {
        if !guard.is_partial() {
            return Ok(Settled::Gone);
        }
        let mut conn = engine.storage.read().await?;
        let left = rows::events(&mut conn, room_id.as_str(), (i64::MIN, ""), 1).await?;
        drop(conn);
        if !left.is_empty() {
            // One more has come.
            drop(guard);
            return Box::pin(settle(engine, row, &States::default())).await;
        }
        let mut batch = Batch::new(engine, &guard);
        let ends: Vec<_> = batch.room.extremities.iter().cloned().collect();
        let mut roots = Vec::new();
        for end in &ends {
            if let Some(end) = batch.event(end).await? {
                roots.extend(state_at::after(&mut batch, &end).await?);
            }
        }
        let root = state_at::merge(&mut batch, roots).await?;
        append::complete_state(&mut batch, root).await?;
        missed::tell(&mut batch, row).await?;
        if written(batch, &mut guard).await? {
            return Ok(Settled::Whole);
        }
    }
    Err(Internal::Damaged(format!("{room_id} changes too fast")))
}

/// Lets things be as they are known: nobody tells more.
async fn give_up(engine: &Engine, room_id: &RoomId) -> Result<(), Internal> {
    let room = room_id.to_string();
    end(engine, room_id, rows::Write::Unmark { room_id: room }).await
}

/// Asks no more, because nobody of ours is in the room. What came meanwhile stays marked: others must not
/// take the part that is known for the whole.
///
/// # Errors
///
/// When the database fails.
pub(super) async fn abandon(engine: &Engine, room_id: &RoomId) -> Result<(), Internal> {
    let room = room_id.to_string();
    end(engine, room_id, rows::Write::Abandon { room_id: room }).await
}

async fn end(engine: &Engine, room_id: &RoomId, marks: rows::Write) -> Result<(), Internal> {
    let Some(mut guard) = room::lock(engine, room_id).await? else { return Ok(()) };
    for _ in 0..MAX_ATTEMPTS {
        if !guard.is_partial() {
            return Ok(());
        }
        let mut batch = Batch::new(engine, &guard);
        let root = batch.room.row.current_state;
        append::complete_state(&mut batch, root).await?;
        batch.change.write(Write::Partial(marks.clone()));
        if written(batch, &mut guard).await? {
            engine.events.forget_room(&guard.id);
            return Ok(());
        }
    }
    Err(Internal::Damaged(format!("{room_id} changes too fast")))
}
