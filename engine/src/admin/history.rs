//! Removing old events of rooms. State stays, and so do the events at the end of the graph and the
//! newest message.

use ruma::{EventId, OwnedEventId, RoomId};
use serde::{Deserialize, Serialize};
use starling_storage::{
    Change,
    admin::{
        Write,
        purge::{self, Old},
        tasks::TaskRow,
    },
    timeline,
};

use super::tasks::{self, Kind, Status, Stopped, Task};
use crate::{
    Engine, Internal,
    events::store,
    rooms::room::{self, RoomGuard},
};

/// How many events go at once.
pub(super) const BATCH: i64 = 200;

/// Up to where history goes.
#[derive(Clone, Debug)]
pub enum Until {
    /// Everything before an event.
    Event(OwnedEventId),
    /// Everything before the first event that came at a time or later, in milliseconds.
    Time(i64),
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
struct Request {
    depth: i64,
    pos: i64,
    keep_local: bool,
}

/// What came of it so far.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct Progress {
    /// How many events are gone.
    pub purged: u64,
    /// Why it failed.
    #[serde(default)]
    pub error: Option<String>,
}

/// Why no history is removed.
#[derive(Debug, thiserror::Error)]
pub enum PurgeError {
    /// The room or the event is not known.
    #[error("there is no such room or event")]
    NotFound,
    /// History of this room is being removed.
    #[error("history of this room is being removed already")]
    Underway,
    /// The server failed.
    #[error(transparent)]
    Internal(#[from] Internal),
}

impl From<starling_storage::DbError> for PurgeError {
    fn from(error: starling_storage::DbError) -> Self {
        Self::Internal(error.into())
    }
}

/// Has the history of a room removed in the background, and gives back the name of that work. Events
/// that this server made stay unless `delete_local`: no other server may have them.
///
/// # Errors
///
/// [`PurgeError`].
pub async fn schedule(
    engine: &Engine,
    room_id: &RoomId,
    until: Until,
    delete_local: bool,
) -> Result<String, PurgeError> {
    if store::room_version(engine, room_id).await?.is_none() {
        return Err(PurgeError::NotFound);
    }
    let mut conn = engine.storage.read().await?;
    let place = match until {
        Until::Event(event_id) => {
            let entry = timeline::find(&mut conn, room_id.as_str(), event_id.as_str()).await?;
            entry.map(|entry| (entry.depth, entry.pos))
        }
        Until::Time(ts) => purge::place_at(&mut conn, room_id.as_str(), ts).await?,
    };
    drop(conn);
    let (depth, pos) = place.ok_or(PurgeError::NotFound)?;
    let tasks: Vec<Task<Progress>> =
        tasks::of(engine, Kind::PurgeHistory, room_id.as_str()).await?;
    if tasks.iter().any(|task| matches!(task.status, Status::Scheduled | Status::Active)) {
        return Err(PurgeError::Underway);
    }
    let request = Request { depth, pos, keep_local: !delete_local };
    let progress = Progress::default();
    let kind = Kind::PurgeHistory;
    Ok(tasks::schedule(engine, kind, room_id.as_str(), &request, &progress).await?)
}

pub(super) async fn perform(engine: &Engine, task: &TaskRow) -> Result<(), Stopped> {
    let Request { depth, pos, keep_local } = serde_json::from_str(&task.request)?;
    let mut progress: Progress = serde_json::from_str(&task.progress)?;
    let room_id = RoomId::parse(&task.subject)?;
    loop {
        if engine.shutdown.is_cancelled() {
            return Err(Stopped::Interrupted);
        }
        let Some(guard) = room::lock(engine, &room_id).await? else { break };
        let mut conn = engine.storage.read().await?;
        let place = (depth, pos);
        let old = purge::before(&mut conn, room_id.as_str(), place, keep_local, BATCH).await?;
        drop(conn);
        if old.is_empty() {
            break;
        }
        progress.purged += old.len() as u64;
        remove(engine, &guard, &old, Some((task, &progress))).await?;
    }
    tasks::save(engine, task, Status::Complete, &progress).await?;
    Ok(())
}

#[derive(Deserialize)]
struct Follows {
    #[serde(default)]
    prev_events: Vec<serde_json::Value>,
}

/// Removes events from a room that is held, and notes how far the work is with it.
pub(super) async fn remove(
    engine: &Engine,
    guard: &RoomGuard,
    old: &[Old],
    work: Option<(&TaskRow, &Progress)>,
) -> Result<(), Internal> {
    let mut events = Vec::with_capacity(old.len());
    let mut ids = Vec::with_capacity(old.len());
    for (event_id, json) in old {
        let Follows { prev_events } = serde_json::from_str(json)?;
        // In the first room versions a reference is a pair of an id and hashes.
        let id = |reference: &serde_json::Value| {
            let id = reference.as_str().or_else(|| reference.get(0)?.as_str());
            id.map(str::to_owned)
        };
        events.push((event_id.clone(), prev_events.iter().filter_map(id).collect()));
        ids.push(EventId::parse(event_id)?);
    }
    let mut change = Change::new();
    let room_id = guard.id.to_string();
    change.write(Write::Purge(purge::Write::Events { room_id, events }));
    if let Some((task, progress)) = work {
        tasks::note(engine, &mut change, task, Status::Active, progress)?;
    }
    engine.storage.commit(change).await?;
    engine.events.forget(&guard.id, &ids);
    Ok(())
}
