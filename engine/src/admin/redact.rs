//! Redacting what a user said.

use std::collections::BTreeMap;

use ruma::{OwnedEventId, OwnedRoomId, OwnedUserId, RoomId, UserId};
use serde::{Deserialize, Serialize};
use serde_json::{json, value::to_raw_value};
use starling_storage::{
    admin::{rooms as rows, tasks::TaskRow},
    memberships,
};

use super::tasks::{self, Kind, Status, Stopped};
use crate::{
    Engine, Internal,
    rooms::send::{self, Redaction, SendError},
};

/// How many events of each room are redacted when nobody says.
const USUAL: i64 = 1_000;

/// How many events are read at once.
const BATCH: i64 = 100;

/// Of how many events it is told why they were not redacted.
const MOST_TOLD: usize = 1_000;

/// What is wanted.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Wanted {
    /// Who redacts where the user cannot do it themselves: an administrator.
    pub by: OwnedUserId,
    /// Whether the administrator redacts everywhere.
    pub by_admin: bool,
    /// In which rooms; none: in all that the user is or was in.
    pub rooms: Vec<OwnedRoomId>,
    /// Why.
    pub reason: Option<String>,
    /// How many events of each room.
    pub limit: Option<i64>,
}

/// What came of it so far.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct Progress {
    /// How many events were redacted.
    pub redacted: u64,
    /// Which were not, and why.
    pub failed_redactions: BTreeMap<String, String>,
}

/// Has what a user said redacted in the background, and gives back the name of that work.
///
/// # Errors
///
/// When the database fails.
pub async fn schedule(engine: &Engine, user: &UserId, wanted: &Wanted) -> Result<String, Internal> {
    tasks::schedule(engine, Kind::Redact, user.as_str(), wanted, &Progress::default()).await
}

pub(super) async fn perform(engine: &Engine, task: &TaskRow) -> Result<(), Stopped> {
    let wanted: Wanted = serde_json::from_str(&task.request)?;
    let user = UserId::parse(&task.subject)?;
    let mut progress: Progress = serde_json::from_str(&task.progress)?;
    for room_id in rooms(engine, &user, &wanted).await? {
        in_room(engine, &user, &room_id, &wanted, &mut progress).await?;
        tasks::save(engine, task, Status::Active, &progress).await?;
    }
    tasks::save(engine, task, Status::Complete, &progress).await?;
    Ok(())
}

async fn rooms(
    engine: &Engine,
    user: &UserId,
    wanted: &Wanted,
) -> Result<Vec<OwnedRoomId>, Internal> {
    if !wanted.rooms.is_empty() {
        return Ok(wanted.rooms.clone());
    }
    let mut conn = engine.storage.read().await?;
    let rows = memberships::of_user(&mut conn, user.as_str()).await?;
    Ok(rows.into_iter().map(|row| row.room_id.try_into()).collect::<Result<_, _>>()?)
}

async fn in_room(
    engine: &Engine,
    user: &UserId,
    room_id: &RoomId,
    wanted: &Wanted,
    progress: &mut Progress,
) -> Result<(), Stopped> {
    let is_ours = user.server_name() == engine.config.server_name;
    let sender = if is_ours && !wanted.by_admin { user } else { &wanted.by };
    let mut left = wanted.limit.unwrap_or(USUAL);
    let mut before = i64::MAX;
    while left > 0 {
        let mut conn = engine.storage.read().await?;
        let limit = left.min(BATCH);
        let (room, user) = (room_id.as_str(), user.as_str());
        let said = rows::said_by(&mut conn, room, user, before, limit).await?;
        drop(conn);
        let Some((_, last)) = said.last() else { return Ok(()) };
        before = *last;
        for (event_id, _) in said {
            if engine.shutdown.is_cancelled() {
                return Err(Stopped::Interrupted);
            }
            left -= 1;
            let target = OwnedEventId::try_from(event_id.as_str())?;
            match one(engine, sender, room_id, target, wanted).await {
                Ok(()) => progress.redacted += 1,
                Err(SendError::Internal(error)) => return Err(error.into()),
                Err(error) if progress.failed_redactions.len() < MOST_TOLD => {
                    progress.failed_redactions.insert(event_id, error.to_string());
                }
                Err(_) => {}
            }
        }
    }
    Ok(())
}

async fn one(
    engine: &Engine,
    sender: &UserId,
    room_id: &RoomId,
    target: OwnedEventId,
    wanted: &Wanted,
) -> Result<(), SendError> {
    let content = match &wanted.reason {
        Some(reason) => json!({ "reason": reason }),
        None => json!({}),
    };
    let redaction = Redaction {
        room_id: room_id.to_owned(),
        sender: sender.to_owned(),
        own_only: false,
        target,
        content: to_raw_value(&content).map_err(Internal::from)?,
        ts: None,
        transaction: None,
    };
    send::redact(engine, redaction).await.map(drop)
}
