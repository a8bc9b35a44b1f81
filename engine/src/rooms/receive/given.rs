//! A whole state that another server gave, by the events that are stored of it. They are not read for this: a
//! state of a large room would take the place of all that is kept in memory of others.

use std::collections::{HashMap, HashSet};

use ruma::{OwnedEventId, RoomId};
use starling_storage::events::{self as rows, KeyRow, flags};

use crate::{Engine, internal::Internal, state::StateKey};

/// How many events are looked up together.
const AT_A_TIME: usize = 1_000;

/// The pieces of state that events stand for, without those that the rules reject; of several for one
/// key the first.
///
/// # Errors
///
/// When the database fails.
pub async fn state(
    engine: &Engine,
    room_id: &RoomId,
    ids: &[OwnedEventId],
) -> Result<Vec<(StateKey, OwnedEventId)>, Internal> {
    let mut seen: HashSet<StateKey> = HashSet::with_capacity(ids.len());
    let mut state = Vec::with_capacity(ids.len());
    for some in ids.chunks(AT_A_TIME) {
        let known = known(engine, room_id, some).await?;
        for (event_id, row) in some.iter().filter_map(|id| Some((id, known.get(id.as_str())?))) {
            if let Some(key) = key(row).filter(|key| seen.insert(key.clone())) {
                state.push((key, event_id.clone()));
            }
        }
    }
    Ok(state)
}

/// Those of the events that are not stored, each once.
///
/// # Errors
///
/// When the database fails.
pub async fn missing(
    engine: &Engine,
    room_id: &RoomId,
    ids: impl IntoIterator<Item = &OwnedEventId>,
) -> Result<Vec<OwnedEventId>, Internal> {
    let mut ids: Vec<&OwnedEventId> = ids.into_iter().collect();
    ids.sort_unstable();
    ids.dedup();
    let mut missing = Vec::new();
    for some in ids.chunks(AT_A_TIME) {
        let known = known(engine, room_id, some.iter().copied()).await?;
        let lacks = some.iter().filter(|id| !known.contains_key(id.as_str()));
        missing.extend(lacks.map(|id| OwnedEventId::clone(id)));
    }
    Ok(missing)
}

async fn known(
    engine: &Engine,
    room_id: &RoomId,
    ids: impl IntoIterator<Item = &OwnedEventId>,
) -> Result<HashMap<String, KeyRow>, Internal> {
    let ids: Vec<String> = ids.into_iter().map(ToString::to_string).collect();
    let mut conn = engine.storage.read().await?;
    let rows = rows::keys(&mut conn, room_id.as_str(), &ids).await?;
    Ok(rows.into_iter().map(|row| (row.event_id.clone(), row)).collect())
}

fn key(row: &KeyRow) -> Option<StateKey> {
    let holds = row.flags & flags::REJECTED == 0;
    Some((row.kind.as_str().into(), row.state_key.clone().filter(|_| holds)?))
}
