//! Rooms of which only a part of the state is known: joined by the help of a server that left their
//! members out, which come later ([`completing`](super::completing)).
//!
//! Until then an event is believed that those who are said to authorise it were in the room: its auth
//! events stand in for the members that are missing. That goes into the state before it, and with it
//! into the room's; both are replaced when the whole state is known.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use ruma::{OwnedEventId, OwnedServerName, RoomId, ServerName};
use starling_storage::{
    Fact,
    events::flags::{PARTIAL_STATE, REJECTED},
    facts,
    rooms::{
        Write, flags,
        partial::{self as rows, PartialRow},
    },
};
use tokio::{
    sync::{Notify, watch},
    time::Instant,
};

use super::{batch::Batch, state_at};
use crate::{
    Engine,
    events::{Pdu, StoredEvent},
    internal::Internal,
};

/// How many servers of a room are believed to be in it before its members are known.
pub const MAX_SERVERS: usize = 20_000;

/// How often it is looked whether another process has completed a room.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Who works on incomplete rooms, and who waits for them.
#[derive(Debug)]
pub struct Memory {
    /// Wakes the task of this process that completes rooms.
    pub(crate) wake: Notify,
    done: watch::Sender<()>,
    /// Whether nobody waits for rooms, for tests in which nothing comes while one waits.
    #[cfg(any(test, feature = "test-support"))]
    pub impatient: std::sync::atomic::AtomicBool,
}

impl Default for Memory {
    fn default() -> Self {
        Self {
            wake: Notify::new(),
            done: watch::Sender::new(()),
            #[cfg(any(test, feature = "test-support"))]
            impatient: false.into(),
        }
    }
}

impl Memory {
    /// Wakes who waits for a room.
    pub(crate) fn completed(&self) {
        self.done.send_replace(());
    }
}

/// Whether only a part of the state of a room is known.
///
/// # Errors
///
/// When the database fails.
pub async fn is_partial(engine: &Engine, room_id: &RoomId) -> Result<bool, Internal> {
    let mut conn = engine.storage.read().await?;
    Ok(rows::is_partial(&mut conn, room_id.as_str()).await?)
}

/// Waits until the whole state of a room is known, for some time; whether it is.
///
/// # Errors
///
/// When the database fails.
pub async fn wait(engine: &Engine, room_id: &RoomId, limit: Duration) -> Result<bool, Internal> {
    #[cfg(any(test, feature = "test-support"))]
    let limit = match engine.partial.impatient.load(std::sync::atomic::Ordering::Relaxed) {
        true => Duration::ZERO,
        false => limit,
    };
    let until = Instant::now() + limit;
    let mut done = engine.partial.done.subscribe();
    loop {
        done.mark_unchanged();
        let mut conn = engine.storage.read().await?;
        let is_partial = rows::is_partial(&mut conn, room_id.as_str()).await?;
        drop(conn);
        if !is_partial {
            return Ok(true);
        }
        tokio::select! {
            _ = done.changed() => {}
            () = tokio::time::sleep(LOOK_EVERY) => {}
            () = tokio::time::sleep_until(until) => return Ok(false),
            () = engine.shutdown.cancelled() => return Ok(false),
        }
    }
}

/// Whether a server is said to be in a room of which not all members are known.
///
/// # Errors
///
/// When the database fails.
pub async fn is_assumed(
    engine: &Engine,
    room_id: &RoomId,
    server: &ServerName,
) -> Result<bool, Internal> {
    let mut conn = engine.storage.read().await?;
    Ok(rows::is_assumed(&mut conn, room_id.as_str(), server.as_str()).await?)
}

/// What is known of a room that is joined in part.
#[derive(Clone, Copy, Debug)]
pub struct Beginning<'a> {
    /// The join.
    pub join: &'a OwnedEventId,
    /// The servers that are said to be in the room; who helped to join is the first.
    pub servers: &'a [OwnedServerName],
}

/// Notes that the room is joined in part. The state before the join, which is to be appended next, is
/// not the whole one.
///
/// # Errors
///
/// When the database fails. The batch is void then.
pub async fn begin(batch: &mut Batch, beginning: Beginning<'_>) -> Result<(), Internal> {
    let Beginning { join, servers } = beginning;
    let mut conn = batch.engine.storage.read().await?;
    let device_list_pos = facts::head(&mut conn).await?;
    drop(conn);
    batch.room.row.flags |= flags::PARTIAL_STATE;
    batch.joined_in_part = Some(join.clone());
    let room_id = batch.room.id.to_string();
    let at = batch.change.fact(Fact::State { room_id: room_id.clone() });
    let row = PartialRow {
        room_id: room_id.clone(),
        join_event_id: join.to_string(),
        resident_servers: serde_json::to_string(servers)?,
        device_list_pos,
    };
    batch.change.write(Write::Partial(rows::Write::Begin { row, at }));
    for server in servers.iter().collect::<BTreeSet<_>>() {
        if *server != batch.engine.config.server_name {
            let (room_id, server) = (room_id.clone(), server.to_string());
            batch.change.write(Write::Partial(rows::Write::Assume { room_id, server, at }));
        }
    }
    Ok(())
}

/// Whether the state before an event follows from one that is known in part only.
///
/// # Errors
///
/// When the database fails.
pub async fn follows_part(batch: &Batch, pdu: &Pdu) -> Result<bool, Internal> {
    if !batch.room.is_partial() {
        return Ok(false);
    }
    if batch.joined_in_part.as_ref() == Some(&pdu.event_id) {
        return Ok(true);
    }
    let before = batch.events(&pdu.prev_events).await?;
    Ok(before.values().any(|event| event.has(PARTIAL_STATE)))
}

/// A state that is known in part, with what the auth events of an event say of the rest. Where both say
/// something they are merged by the rules of the room. What is only missing here is no contradiction: by
/// the rules it would have to be allowed anew, and whoever came while the room was open would be out of one
/// that was closed since.
///
/// # Errors
///
/// When the database fails.
pub async fn supplement(
    batch: &mut Batch,
    root: i64,
    auth: &HashMap<OwnedEventId, Arc<StoredEvent>>,
) -> Result<i64, Internal> {
    let accepted = auth.values().filter(|event| !event.has(REJECTED));
    let claimed: Vec<_> = accepted
        .filter_map(|event| Some((event.pdu.key()?, Some(event.pdu.event_id.clone()))))
        .collect();
    let keys: Vec<_> = claimed.iter().map(|(key, _)| key.clone()).collect();
    let known = batch.snapshots.get_many(root, &keys).await?;
    let missing: Vec<_> = claimed.iter().zip(known).filter(|(_, known)| known.is_none()).collect();
    let missing: Vec<_> = missing.into_iter().map(|(claim, _)| claim.clone()).collect();
    let root = batch.snapshots.apply(root, &missing).await?;
    let claimed = batch.snapshots.apply(root, &claimed).await?;
    state_at::merge(batch, vec![root, claimed]).await
}
