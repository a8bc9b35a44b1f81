//! Taking the timeline into the index, behind what is being said.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use ruma::{EventId, OwnedEventId};
use starling_storage::{
    Change,
    search::{self as rows, Direction, DocumentRow, Write},
    timeline::{self, Entry},
};
use tokio::sync::{Mutex, MutexGuard};

use super::{document::Document, number};
use crate::{
    Engine, Internal,
    behind::Rounds,
    events::{StoredEvent, store},
};

/// How many events are taken in with one change.
const BATCH: usize = 200;

/// How long the writer is left to others between two batches of what is old.
const PAUSE: Duration = Duration::from_millis(50);

/// How many batches a search waits for at most, of what is new and of what is old.
const WAITED_FOR: (usize, usize) = (20, 2);

/// How far the index is; whoever holds it takes in.
#[derive(Debug, Default)]
pub struct Memory(Mutex<Option<Reached>>);

#[derive(Clone, Copy, Debug)]
struct Reached {
    forward: i64,
    backward: i64,
}

/// Follows the timeline until the process shuts down.
pub async fn run(engine: Engine) {
    let mut rounds = Rounds::new(&engine);
    while rounds.next().await {
        if let Err(error) = follow(&engine).await {
            tracing::warn!(%error, "the search index could not follow yet");
        }
    }
}

/// Everything that is new, then everything that is old, minding what is new.
async fn follow(engine: &Engine) -> Result<(), Internal> {
    loop {
        while step(engine, Direction::Forward).await? {}
        if engine.shutdown.is_cancelled() || !step(engine, Direction::Backward).await? {
            return Ok(());
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Brings the index up to what has been said before now. When there is too much to wait for, the rest
/// is left for later.
///
/// # Errors
///
/// When the database fails.
pub async fn catch_up(engine: &Engine) -> Result<(), Internal> {
    for _ in 0..WAITED_FOR.0 {
        if !step(engine, Direction::Forward).await? {
            break;
        }
    }
    for _ in 0..WAITED_FOR.1 {
        if !step(engine, Direction::Backward).await? {
            break;
        }
    }
    Ok(())
}

/// Takes in one batch; whether there may be more.
async fn step(engine: &Engine, direction: Direction) -> Result<bool, Internal> {
    let mut place = engine.search.0.lock().await;
    let reached = reached(engine, &mut place).await?;
    // Whatever is at or below the head can be read.
    let head = engine.storage.feed().head();
    if direction == Direction::Forward && head <= reached.forward {
        return Ok(false);
    }
    let limit = i64::try_from(BATCH).unwrap_or(i64::MAX);
    let mut conn = engine.storage.read().await?;
    let (from, until) = (reached.forward, head);
    let places = match direction {
        Direction::Forward => rows::newer(&mut conn, from, until, limit).await?,
        Direction::Backward => rows::older(&mut conn, reached.backward, limit).await?,
    };
    drop(conn);
    let is_full = places.len() == BATCH;
    let last = places.last().map(|place| place.pos);
    let writes = documents(engine, &places).await?;
    let pos = match direction {
        Direction::Forward if is_full => last.unwrap_or(head),
        Direction::Forward => head,
        Direction::Backward => last.map_or(reached.backward, |last| last - 1),
    };
    // Of receipts and the like nothing is written; they are passed over again after a restart.
    if !writes.is_empty() || is_full || (direction == Direction::Backward && last.is_some()) {
        let mut change = Change::new();
        writes.into_iter().for_each(|write| change.write(write));
        change.write(Write::Progress { direction, pos });
        engine.storage.commit(change).await?;
    }
    let reached = match direction {
        Direction::Forward => Reached { forward: pos, ..reached },
        Direction::Backward => Reached { backward: pos, ..reached },
    };
    *place = Some(reached);
    Ok(is_full)
}

async fn reached(
    engine: &Engine,
    place: &mut MutexGuard<'_, Option<Reached>>,
) -> Result<Reached, Internal> {
    if let Some(reached) = **place {
        return Ok(reached);
    }
    let mut conn = engine.storage.read().await?;
    let forward = rows::progress(&mut conn, Direction::Forward).await?;
    let backward = rows::progress(&mut conn, Direction::Backward).await?;
    Ok(Reached { forward, backward })
}

/// What a batch of events changes in the index.
async fn documents(engine: &Engine, places: &[Entry]) -> Result<Vec<Write>, Internal> {
    let mut rooms: HashMap<&str, Vec<OwnedEventId>> = HashMap::new();
    for place in places {
        let event_ids = rooms.entry(&place.room_id).or_default();
        event_ids.extend(OwnedEventId::try_from(&*place.event_id));
    }
    let room_ids: Vec<String> = rooms.keys().map(ToString::to_string).collect();
    let mut conn = engine.storage.read().await?;
    let encrypted: HashSet<String> =
        rows::encrypted(&mut conn, &room_ids).await?.into_iter().collect();
    drop(conn);
    let mut events = HashMap::new();
    for (room_id, event_ids) in rooms {
        let of_room = store::get_readable(engine, room_id.try_into()?, &event_ids).await?;
        events.insert(room_id, of_room);
    }
    let mut writes = vec![];
    for Entry { pos, room_id, event_id, .. } in places {
        let of_room = events.get(room_id.as_str());
        let event = of_room.and_then(|events| events.get(<&EventId>::try_from(&**event_id).ok()?));
        let Some(event) = event else { continue };
        writes.extend(redacted(engine, event).await?.map(|pos| Write::Remove { pos }));
        if encrypted.contains(room_id) || event.redacted_by.is_some() || !event.is_visible() {
            continue;
        }
        let Some(document) = Document::of(&event.pdu) else { continue };
        let terms = document.terms();
        if !terms.is_empty() {
            let (room, key) = (number(room_id), document.key.number());
            writes.push(Write::Put(DocumentRow { pos: *pos, room, key, terms }));
        }
    }
    Ok(writes)
}

/// Where the event stands that this one has redacted.
async fn redacted(engine: &Engine, event: &StoredEvent) -> Result<Option<i64>, Internal> {
    let Some(target_id) = &event.pdu.redacts else { return Ok(None) };
    let room_id = &event.pdu.room_id;
    let Some(target) = store::get(engine, room_id, target_id).await? else { return Ok(None) };
    if target.redacted_by.is_none() {
        return Ok(None);
    }
    let mut conn = engine.storage.read().await?;
    let entry = timeline::find(&mut conn, room_id.as_str(), target_id.as_str()).await?;
    Ok(entry.map(|entry| entry.pos))
}
