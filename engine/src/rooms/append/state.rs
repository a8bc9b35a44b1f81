//! The current state of the room after an event.

use starling_storage::{At, Fact, state::Write};

use crate::{
    events::StoredEvent,
    internal::Internal,
    rooms::{batch::Batch, state_at},
    state::Changed,
};

/// How many ends of the graph are merged each time. Where somebody makes more of them, an event is put
/// into what is current; once they were tied together, all that is left is merged.
const MERGED_ENDS: usize = 20;

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

/// Merges the ends of the graph where that was put off.
pub(super) async fn settle(batch: &mut Batch) -> Result<StateChange, Internal> {
    let roots = ends(batch, None).await?;
    let merged = state_at::merge_within_bounds(batch, roots).await?;
    batch.unsettled = false;
    match merged.filter(|root| *root != batch.room.row.current_state) {
        Some(root) => adopt(batch, root).await,
        None => Ok(StateChange { changed: vec![], at: None }),
    }
}

async fn current(batch: &mut Batch, event: &StoredEvent) -> Result<i64, Internal> {
    if batch.room.extremities.len() > MERGED_ENDS {
        return put(batch, event).await;
    }
    // Branches that disagree about much are not merged for each event of a transaction anew.
    if batch.large_conflicts > 0 && batch.room.extremities.len() > 1 {
        batch.unsettled = true;
        return put(batch, event).await;
    }
    let roots = ends(batch, Some(event)).await?;
    match state_at::merge_within_bounds(batch, roots).await? {
        Some(root) => Ok(root),
        None => put(batch, event).await,
    }
}

/// The states after the ends of the graph, one of which may be an event that is just being added.
async fn ends(batch: &mut Batch, new: Option<&StoredEvent>) -> Result<Vec<i64>, Internal> {
    let ids: Vec<_> = batch.room.extremities.iter().cloned().collect();
    let mut roots = Vec::with_capacity(ids.len());
    for id in ids {
        if let Some(new) = new.filter(|new| new.pdu.event_id == id) {
            roots.extend(state_at::after(batch, new).await?);
        } else if let Some(end) = batch.event(&id).await? {
            roots.extend(state_at::after(batch, &end).await?);
        }
    }
    Ok(roots)
}

/// The current state with what an event says, which the current state allows: it was judged by it.
async fn put(batch: &mut Batch, event: &StoredEvent) -> Result<i64, Internal> {
    let root = batch.room.row.current_state;
    match event.pdu.key() {
        Some(key) => batch.snapshots.apply(root, &[(key, Some(event.pdu.event_id.clone()))]).await,
        None => Ok(root),
    }
}

/// Whether the event is all that changed.
fn explains(event: &StoredEvent, changed: &[Changed]) -> bool {
    let new = changed.iter().map(|change| change.new.as_ref());
    new.eq([Some(&event.pdu.event_id)])
}
