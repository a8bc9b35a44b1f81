//! The state of a room before and after its events.
//!
//! <https://spec.matrix.org/v1.19/server-server-api/#pdus>

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use ruma::OwnedEventId;
use starling_storage::events::flags;

use super::{
    auth_ranks,
    batch::Batch,
    resolve::{self, ResolveError, RoomSource, StateMap},
};
use crate::{
    events::{Pdu, StoredEvent},
    internal::Internal,
    state::{EMPTY_ROOT, StateKey},
};

/// The state before an event that follows these: that after each of them, merged where they differ.
///
/// `None` when one of them is not known, or is an outlier, so that nobody here can tell.
///
/// # Errors
///
/// When the database fails.
pub async fn before(
    batch: &mut Batch,
    prev_events: &[OwnedEventId],
) -> Result<Option<i64>, Internal> {
    let prev: std::collections::BTreeSet<_> = prev_events.iter().cloned().collect();
    // While a room's state is known in part, some of its ends may know better than the whole.
    if prev == batch.room.extremities && !batch.room.is_partial() {
        return Ok(Some(batch.room.row.current_state));
    }
    let events = batch.events(prev_events).await?;
    let mut roots = Vec::new();
    for event_id in &prev {
        let Some(event) = events.get(event_id) else { return Ok(None) };
        let Some(root) = after(batch, event).await? else { return Ok(None) };
        roots.push(root);
    }
    Ok(Some(merge(batch, roots).await?))
}

/// The state after an event; `None` for an outlier, and where only a part of the state before it ever came.
///
/// # Errors
///
/// When the database fails.
pub async fn after(batch: &mut Batch, event: &StoredEvent) -> Result<Option<i64>, Internal> {
    let Some(before) = event.state_before.filter(|_| event.is_in_place()) else { return Ok(None) };
    match event.pdu.key().filter(|_| !event.has(flags::REJECTED)) {
        Some(key) => {
            let change = [(key, Some(event.pdu.event_id.clone()))];
            Ok(Some(batch.snapshots.apply(before, &change).await?))
        }
        None => Ok(Some(before)),
    }
}

/// Merges states by the rules of the room's version. Where that would take too much the current state
/// is as good: whoever made it so much gains nothing by it.
///
/// # Errors
///
/// When the database fails, or what it holds of the room makes no sense.
pub async fn merge(batch: &mut Batch, roots: Vec<i64>) -> Result<i64, Internal> {
    let merged = merge_within_bounds(batch, roots).await?;
    Ok(merged.unwrap_or(batch.room.row.current_state))
}

/// Merges states by the rules of the room's version; `None` when that would take too much.
///
/// # Errors
///
/// When the database fails, or what it holds of the room makes no sense.
pub async fn merge_within_bounds(
    batch: &mut Batch,
    mut roots: Vec<i64>,
) -> Result<Option<i64>, Internal> {
    roots.sort_unstable();
    roots.dedup();
    let Some(first) = roots.first().copied() else { return Ok(Some(EMPTY_ROOT)) };
    if roots.len() == 1 {
        return Ok(Some(first));
    }
    let trie = batch.snapshots.trie();
    let sets = resolve::disagreements(trie, &batch.snapshots, &roots).await?;
    if sets.iter().map(StateMap::len).sum::<usize>() > resolve::LARGE {
        batch.large_conflicts += 1;
    }
    let source = Source { batch, root: first, sets: &sets };
    let changes = match resolve::resolve(&source, &sets, batch.room.rules()).await {
        Ok(changes) => changes,
        Err(ResolveError::Source(error)) => return Err(error),
        Err(ResolveError::TooMuch) => {
            tracing::warn!(room.id = %batch.room.id, "A conflict about the state is too large");
            return Ok(None);
        }
        Err(ResolveError::Damaged(error)) => return Err(Internal::Damaged(error.to_string())),
    };
    batch.snapshots.apply(first, &changes).await.map(Some)
}

/// What resolution reads: the events of the room, and the states with all but the conflicting keys.
struct Source<'a> {
    batch: &'a Batch,
    root: i64,
    sets: &'a [StateMap],
}

impl RoomSource for Source<'_> {
    type Error = Internal;

    async fn events(&self, ids: &[OwnedEventId]) -> Result<Vec<Arc<Pdu>>, Internal> {
        let events = self.batch.events(ids).await?;
        Ok(events.into_values().map(|event| event.pdu.clone()).collect())
    }

    async fn ranks(&self, ids: &[OwnedEventId]) -> Result<HashMap<OwnedEventId, i64>, Internal> {
        auth_ranks::of(self.batch, ids).await
    }

    async fn agreed(&self, keys: &[StateKey]) -> Result<Vec<Option<OwnedEventId>>, Internal> {
        self.batch.snapshots.get_many(self.root, keys).await
    }

    async fn agreed_citing(&self, _: &[OwnedEventId]) -> Result<Vec<OwnedEventId>, Internal> {
        let conflicting: HashSet<&StateKey> = self.sets.iter().flat_map(StateMap::keys).collect();
        let all = self.batch.snapshots.entries(self.root).await?;
        let agreed = all.into_iter().filter(|(key, _)| !conflicting.contains(key));
        Ok(agreed.map(|(_, event_id)| event_id).collect())
    }
}
