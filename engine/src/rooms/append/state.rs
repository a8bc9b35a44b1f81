//! The current state of the room after an event.

use starling_storage::{At, Fact, state::Write};

use crate::{
    events::StoredEvent,
    internal::Internal,
    rooms::{batch::Batch, state_at},
    state::Changed,
};

/// How the current state changed, and the fact that tells of it.
#[derive(Debug)]
pub struct StateChange {
    /// The keys that changed.
    pub changed: Vec<Changed>,
    /// The event's fact, or one of its own when more changed than the event says.
    pub at: Option<At>,
}

/// Makes the state after an accepted event, merged with those of the other ends of the graph, the
/// current one. `place` is the fact of the event, if it is shown.
pub(super) async fn advance(
    batch: &mut Batch,
    event: &StoredEvent,
    place: Option<At>,
) -> Result<StateChange, Internal> {
    let old = batch.room.row.current_state;
    let new = current(batch, event).await?;
    let changed = if old == new { vec![] } else { batch.snapshots.diff(old, new).await? };
    if changed.is_empty() {
        return Ok(StateChange { changed, at: None });
    }
    batch.room.row.current_state = new;
    replace(batch, new, changed, |changed| explains(event, changed).then_some(place).flatten())
}

/// Writes what became of the current state, with a fact of its own unless `explained` names one.
fn replace(
    batch: &mut Batch,
    root: i64,
    changed: Vec<Changed>,
    explained: impl Fn(&[Changed]) -> Option<At>,
) -> Result<StateChange, Internal> {
    let room_id = batch.room.id.to_string();
    let own = |batch: &mut Batch| batch.change.fact(Fact::State { room_id: room_id.clone() });
    let at = match explained(&changed) {
        Some(at) => at,
        None => own(batch),
    };
    batch.change.write(Write::Root { room_id: room_id.clone(), root, at });
    for change in &changed {
        batch.change.write(Write::Current {
            room_id: room_id.clone(),
            kind: change.key.0.to_string(),
            state_key: change.key.1.clone(),
            event_id: change.new.as_ref().map(ToString::to_string),
        });
    }
    Ok(StateChange { changed, at: Some(at) })
}

/// Sets the current state of a room to what another server said it is.
pub(super) async fn adopt(batch: &mut Batch, root: i64) -> Result<StateChange, Internal> {
    let changed = batch.snapshots.diff(batch.room.row.current_state, root).await?;
    batch.room.row.current_state = root;
    replace(batch, root, changed, |_| None)
}

async fn current(batch: &mut Batch, event: &StoredEvent) -> Result<i64, Internal> {
    let ends: Vec<_> = batch.room.extremities.iter().cloned().collect();
    let mut roots = Vec::with_capacity(ends.len());
    for end in &ends {
        let known = if *end == event.pdu.event_id { None } else { batch.event(end).await? };
        let end = known.as_deref().unwrap_or(event);
        roots.extend(state_at::after(batch, end).await?);
    }
    state_at::merge(batch, roots).await
}

/// Whether the event is all that changed.
fn explains(event: &StoredEvent, changed: &[Changed]) -> bool {
    let new = changed.iter().map(|change| change.new.as_ref());
    new.eq([Some(&event.pdu.event_id)])
}
