//! History that other servers have and we do not: asked for when a reader comes to its edge.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use moka::sync::Cache;
use ruma::{OwnedEventId, OwnedRoomId, OwnedServerName, RoomId, api::Direction};
use starling_storage::{events::flags, rooms as rows};

use super::{
    append::{self, Disposition, NewEvent},
    batch::{Batch, BatchError, MAX_ATTEMPTS},
    receive::{
        Budget,
        fetch::Peer,
        gaps::{self, ClaimedState},
        judge::{self, Judged},
    },
    room,
};
use crate::{
    Engine,
    events::{Pdu, StoredEvent, store},
    internal::Internal,
    reading::moments::Moment,
};

/// How many unknown events are asked for at a time.
const MAX_EDGES: usize = 10;
/// Among how many those are chosen.
const MAX_LOOKED_AT: i64 = 200;
/// How many events one request asks for at most.
const MAX_EVENTS: u32 = 100;
/// How many servers are asked before we do without.
const MAX_SERVERS: usize = 3;
/// For how many events of one answer the state is asked for; the others would need it too, but an
/// answer with so many loose ends is of no use.
const MAX_LOOSE: usize = 5;
/// The pause after an unknown event was asked for in vain; each further time doubles it ...
const FIRST_PAUSE_MS: i64 = 30_000;
/// ... up to this.
const MAX_PAUSE_MS: i64 = 60 * 60_000;
/// How many unknown events are remembered.
const MAX_UNSERVED: u64 = 50_000;

/// Asks other servers for history of a room before what is known, and stores it: it is found in the
/// timeline at negative positions. Returns how many events came; 0 when nobody has more.
///
/// # Errors
///
/// When our own database fails.
pub async fn backfill(engine: &Engine, room_id: &RoomId, limit: u32) -> Result<usize, Internal> {
    let Some(version) = store::room_version(engine, room_id).await? else { return Ok(0) };
    let edges = edges(engine, room_id).await?;
    if edges.is_empty() {
        return Ok(0);
    }
    let now_ms = engine.clock.now_ms();
    for server in servers(engine, room_id).await? {
        let peer = Peer { engine, server: &server, room_id, rules: &version.1 };
        let mut budget = Budget::default();
        let events = peer.backfill(&mut budget, &edges, limit.clamp(1, MAX_EVENTS)).await?;
        let added = add(&peer, &mut budget, events).await?;
        if added > 0 {
            return Ok(added);
        }
    }
    engine.unserved.note(room_id, edges, now_ms);
    Ok(0)
}

/// Asks other servers for the event of a room that is closest to a time, if they have one that is
/// closer than what is known here, and stores it. Returns whether one came.
///
/// # Errors
///
/// When our own database fails.
pub async fn closest(
    engine: &Engine,
    room_id: &RoomId,
    ts: i64,
    direction: Direction,
    known: Option<&Moment>,
) -> Result<bool, Internal> {
    let Some(version) = store::room_version(engine, room_id).await? else { return Ok(false) };
    for server in servers(engine, room_id).await? {
        let peer = Peer { engine, server: &server, room_id, rules: &version.1 };
        let mut budget = Budget::default();
        let Some(moment) = peer.closest(&mut budget, ts, direction).await else { continue };
        if !moment.is_closer(ts, direction, known) {
            continue;
        }
        let Some(event) = peer.event(&mut budget, &moment.event_id).await? else { continue };
        // What the event says of its time counts, not what the server says.
        if !Moment::of(&event).is_closer(ts, direction, known) {
            continue;
        }
        if add(&peer, &mut budget, vec![event]).await? > 0 {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Unknown events that are asked for next, the deepest first, without those that nobody had lately.
async fn edges(engine: &Engine, room_id: &RoomId) -> Result<Vec<OwnedEventId>, Internal> {
    let mut conn = engine.storage.read().await?;
    let edges = rows::backward_extremities(&mut conn, room_id.as_str(), MAX_LOOKED_AT).await?;
    drop(conn);
    let now_ms = engine.clock.now_ms();
    let mut wanted = Vec::new();
    for (event_id, _) in edges {
        let event_id = OwnedEventId::try_from(event_id)?;
        if wanted.len() < MAX_EDGES && engine.unserved.may_ask(room_id, &event_id, now_ms) {
            wanted.push(event_id);
        }
    }
    Ok(wanted)
}

/// Unknown events that other servers were asked for in vain. An event that names others which do not
/// exist makes such, and would have every reader of the room ask for them, and nobody for others.
#[derive(Clone, Debug)]
pub struct Unserved(Cache<(OwnedRoomId, OwnedEventId), Refusals>);

/// How often in a row, and when it may be asked again.
#[derive(Clone, Copy, Debug)]
struct Refusals {
    count: u32,
    until_ms: i64,
}

impl Default for Unserved {
    fn default() -> Self {
        Self(Cache::builder().max_capacity(MAX_UNSERVED).build())
    }
}

impl Unserved {
    fn may_ask(&self, room_id: &RoomId, event_id: &OwnedEventId, now_ms: i64) -> bool {
        let refusals = self.0.get(&(room_id.to_owned(), event_id.clone()));
        refusals.is_none_or(|refusals| refusals.until_ms <= now_ms)
    }

    fn note(&self, room_id: &RoomId, event_ids: Vec<OwnedEventId>, now_ms: i64) {
        for event_id in event_ids {
            let key = (room_id.to_owned(), event_id);
            let before = self.0.get(&key).map_or(0, |refusals| refusals.count);
            let pause_ms = FIRST_PAUSE_MS.saturating_mul(1 << before.min(16)).min(MAX_PAUSE_MS);
            let until_ms = now_ms.saturating_add(pause_ms);
            self.0.insert(key, Refusals { count: before.saturating_add(1), until_ms });
        }
    }
}

/// The servers that have most members in the room: they know most of it.
async fn servers(engine: &Engine, room_id: &RoomId) -> Result<Vec<OwnedServerName>, Internal> {
    let mut conn = engine.storage.read().await?;
    let servers = rows::servers_in(&mut conn, room_id.as_str()).await?;
    let others = servers.into_iter().filter(|server| *server != engine.config.server_name);
    Ok(others.filter_map(|server| server.try_into().ok()).take(MAX_SERVERS).collect())
}

/// Stores events that a server gave, as far as they can be judged.
async fn add(
    peer: &Peer<'_>,
    budget: &mut Budget,
    mut events: Vec<Arc<Pdu>>,
) -> Result<usize, Internal> {
    let ids: Vec<_> = events.iter().map(|event| event.event_id.clone()).collect();
    let known = store::get_many(peer.engine, peer.room_id, &ids).await?;
    let in_place = |id: &OwnedEventId| known.get(id).is_some_and(|it| it.state_before.is_some());
    events.retain(|event| !in_place(&event.event_id));
    events.sort_by(|a, b| (a.depth, &a.event_id).cmp(&(b.depth, &b.event_id)));
    events.dedup_by(|a, b| a.event_id == b.event_id);
    if events.is_empty() {
        return Ok(0);
    }
    let claimed = claimed_states(peer, budget, &events).await?;
    write(peer, &events, &claimed).await
}

/// What the server says about the state before those events that follow none that we have.
async fn claimed_states(
    peer: &Peer<'_>,
    budget: &mut Budget,
    events: &[Arc<Pdu>],
) -> Result<HashMap<OwnedEventId, ClaimedState>, Internal> {
    let prev: Vec<_> = events.iter().flat_map(|event| event.prev_events.clone()).collect();
    let stored = store::get_many(peer.engine, peer.room_id, &prev).await?;
    let mut known: HashSet<OwnedEventId> =
        stored.into_iter().filter(|(_, it)| it.state_before.is_some()).map(|(id, _)| id).collect();
    let mut claimed = HashMap::new();
    for event in events {
        if !event.prev_events.iter().all(|id| known.contains(id)) {
            if claimed.len() >= MAX_LOOSE {
                continue;
            }
            let Some(state) = gaps::claimed_state(peer, budget, event).await? else { continue };
            claimed.insert(event.event_id.clone(), state);
        }
        known.insert(event.event_id.clone());
    }
    Ok(claimed)
}

async fn write(
    peer: &Peer<'_>,
    events: &[Arc<Pdu>],
    claimed: &HashMap<OwnedEventId, ClaimedState>,
) -> Result<usize, Internal> {
    let Some(mut guard) = room::lock(peer.engine, peer.room_id).await? else { return Ok(0) };
    for _ in 0..MAX_ATTEMPTS {
        let mut batch = Batch::new(peer.engine, &guard);
        let judged = judge_all(&mut batch, events, claimed).await?;
        let count = judged.len();
        if count == 0 {
            return Ok(0);
        }
        for new in judged.into_iter().rev() {
            append::backfill(&mut batch, new).await?;
        }
        match batch.commit(&mut guard).await {
            Ok(_) => return Ok(count),
            Err(BatchError::Conflict) => {}
            Err(BatchError::Internal(error)) => return Err(error),
            Err(error) => return Err(Internal::Damaged(error.to_string())),
        }
    }
    Ok(0)
}

/// The events that can be judged with their fates, oldest first. That an event would not be allowed
/// today does not matter for history.
async fn judge_all(
    batch: &mut Batch,
    events: &[Arc<Pdu>],
    claimed: &HashMap<OwnedEventId, ClaimedState>,
) -> Result<Vec<NewEvent>, Internal> {
    let mut fates = Vec::new();
    for pdu in events {
        let state_before = match claimed.get(&pdu.event_id) {
            Some(claimed) => gaps::state_before(batch, pdu, claimed).await?,
            None => None,
        };
        let Judged::Ready(mut new) = judge::judge(batch, pdu, state_before).await? else {
            continue;
        };
        if new.disposition == Disposition::SoftFailed {
            new.disposition = Disposition::Accepted;
        }
        // Those after it are judged by it before it is appended.
        batch.put_event(Arc::new(stored(batch, &new)));
        fates.push(new);
    }
    Ok(fates)
}

fn stored(batch: &Batch, new: &NewEvent) -> StoredEvent {
    let rejected = new.disposition == Disposition::Rejected;
    StoredEvent {
        pdu: Arc::new(Pdu { rejected, ..Pdu::clone(&new.pdu) }),
        state_before: new.state_before,
        flags: if rejected { flags::REJECTED } else { 0 },
        redacted_by: None,
        received_ts: batch.engine.clock.now_ms(),
        sent_by: None,
    }
}
