//! How state events rank: each higher than those that authorise it. State resolution walks from high
//! ranks to low ones, and knows by them where it may stop ([`super::auth_graph`]).

use std::collections::{HashMap, HashSet};

use moka::sync::Cache;
use ruma::{OwnedEventId, OwnedRoomId};
use starling_storage::events::{self as rows, RankRow, Write};

use super::batch::Batch;
use crate::{events::StoredEvent, internal::Internal};

/// How many events' ranks are remembered.
const REMEMBERED: u64 = 200_000;

/// The ranks at hand. An event's rank never changes.
#[derive(Clone, Debug)]
pub struct Ranks(Cache<(OwnedRoomId, OwnedEventId), i64>);

impl Default for Ranks {
    fn default() -> Self {
        Self(Cache::builder().max_capacity(REMEMBERED).build())
    }
}

/// Notes how an event ranks that is added to a room.
pub(super) async fn note(batch: &mut Batch, event: &StoredEvent) -> Result<(), Internal> {
    let auth = of(batch, &event.pdu.auth_events).await?;
    let rank = auth.values().max().copied().unwrap_or(0).saturating_add(1);
    let (room_id, event_id) = (batch.room.id.clone(), event.pdu.event_id.clone());
    batch.change.write(Write::Rank(RankRow {
        room_id: room_id.to_string(),
        event_id: event_id.to_string(),
        rank,
    }));
    batch.engine.auth_ranks.0.insert((room_id, event_id), rank);
    Ok(())
}

/// The ranks of some events of the room. One that is not known has rank 0.
///
/// # Errors
///
/// When the database fails.
pub(super) async fn of(
    batch: &Batch,
    ids: &[OwnedEventId],
) -> Result<HashMap<OwnedEventId, i64>, Internal> {
    let mut ranks = HashMap::new();
    // Events from before ranks were noted, and invites that came before the room: by event, what
    // authorises it.
    let mut unranked: HashMap<OwnedEventId, Vec<OwnedEventId>> = HashMap::new();
    let mut open: HashSet<OwnedEventId> = ids.iter().cloned().collect();
    while !open.is_empty() {
        let missing = look_up(batch, open.drain().collect(), &mut ranks).await?;
        let events = batch.events(&missing).await?;
        for id in missing {
            let Some(event) = events.get(&id) else {
                ranks.insert(id, 0);
                continue;
            };
            unranked.insert(id, event.pdu.auth_events.clone());
        }
        let below = events.values().flat_map(|event| &event.pdu.auth_events);
        open.extend(
            below.filter(|id| !ranks.contains_key(*id) && !unranked.contains_key(*id)).cloned(),
        );
    }
    settle(&unranked, &mut ranks);
    Ok(ranks)
}

/// Finds the ranks that are noted, and gives back the events without.
async fn look_up(
    batch: &Batch,
    mut ids: Vec<OwnedEventId>,
    ranks: &mut HashMap<OwnedEventId, i64>,
) -> Result<Vec<OwnedEventId>, Internal> {
    let (engine, room_id) = (&batch.engine, &batch.room.id);
    let mut take = |id: &OwnedEventId, rank: i64| ranks.insert(id.clone(), rank);
    ids.retain(|id| match engine.auth_ranks.0.get(&(room_id.clone(), id.clone())) {
        Some(rank) => {
            take(id, rank);
            false
        }
        None => true,
    });
    if ids.is_empty() {
        return Ok(ids);
    }
    let texts: Vec<String> = ids.iter().map(ToString::to_string).collect();
    let mut conn = engine.storage.read().await?;
    let stored = rows::ranks(&mut conn, room_id.as_str(), &texts).await?;
    drop(conn);
    for (id, rank) in stored {
        let id = OwnedEventId::try_from(id)?;
        engine.auth_ranks.0.insert((room_id.clone(), id.clone()), rank);
        take(&id, rank);
    }
    ids.retain(|id| !ranks.contains_key(id));
    Ok(ids)
}

/// Ranks events by what authorises them. A circle, which no hash allows, is cut somewhere.
fn settle(
    unranked: &HashMap<OwnedEventId, Vec<OwnedEventId>>,
    ranks: &mut HashMap<OwnedEventId, i64>,
) {
    let mut stack: Vec<(&OwnedEventId, bool)> = unranked.keys().map(|id| (id, false)).collect();
    let mut entered = HashSet::new();
    while let Some((id, left)) = stack.pop() {
        let Some(auth) = unranked.get(id) else { continue };
        if left {
            let highest = auth.iter().filter_map(|id| ranks.get(id)).max().copied();
            ranks.insert(id.clone(), highest.unwrap_or(0).saturating_add(1));
        } else if entered.insert(id) {
            stack.push((id, true));
            stack.extend(auth.iter().map(|id| (id, false)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_event_ranks_above_what_authorises_it() {
        let id = |name: &str| OwnedEventId::try_from(format!("${name}:x.org")).unwrap();
        let auth = |names: &[&str]| names.iter().map(|name| id(name)).collect::<Vec<_>>();
        let unranked = HashMap::from([
            (id("d"), auth(&["a", "c"])),
            (id("c"), auth(&["b", "known"])),
            (id("b"), auth(&["a"])),
            (id("a"), auth(&[])),
            (id("x"), auth(&["y"])),
            (id("y"), auth(&["x", "d"])),
        ]);
        let mut ranks = HashMap::from([(id("known"), 7)]);
        settle(&unranked, &mut ranks);
        let found = ["a", "b", "c", "d"].map(|name| ranks[&id(name)]);
        assert_eq!(found, [1, 2, 8, 9]);
        assert!(ranks[&id("y")] > 9 || ranks[&id("x")] > 9);
    }
}
