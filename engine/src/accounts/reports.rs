//! What users report to the administrators: rooms, events, users.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#reporting-content>

use ruma::{EventId, RoomId, UserId};
use serde::Serialize;
use starling_storage::{
    Change,
    accounts::{Write, reports::ReportRow},
    admin::reports::{Wanted, page},
    memberships,
};

use crate::{
    Engine, Internal,
    events::store,
    reading::{
        access::{Asking, ReadError},
        context,
    },
    rng,
};

/// How many characters of a reason are kept.
const LONGEST_REASON: usize = 4_000;

/// Why something was not reported.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// There is no such thing, or the user cannot know of it.
    #[error("there is nothing like this to report")]
    NotFound,
    /// The server failed.
    #[error(transparent)]
    Internal(#[from] Internal),
}

impl From<starling_storage::DbError> for ReportError {
    fn from(error: starling_storage::DbError) -> Self {
        Self::Internal(error.into())
    }
}

/// A report, as administrators are shown it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// A name for it.
    pub id: String,
    /// When it came, in milliseconds.
    pub received_ts: i64,
    /// Who reports.
    pub reporter: String,
    /// The room.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub room_id: Option<String>,
    /// The event in the room.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event_id: Option<String>,
    /// The user who is reported, or who sent the event.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_id: Option<String>,
    /// Why.
    pub reason: String,
}

/// Reports a room that this server knows.
///
/// # Errors
///
/// [`ReportError`].
pub async fn room(
    engine: &Engine,
    reporter: &UserId,
    room_id: &RoomId,
    reason: &str,
) -> Result<(), ReportError> {
    if store::room_version(engine, room_id).await?.is_none() {
        return Err(ReportError::NotFound);
    }
    let room_id = Some(room_id.to_string());
    keep(engine, ReportRow { room_id, ..report(engine, reporter, reason) }).await
}

/// Reports an event that the user can see in a room that they have joined.
///
/// # Errors
///
/// [`ReportError`].
pub async fn event(
    engine: &Engine,
    reporter: &UserId,
    (room_id, event_id): (&RoomId, &EventId),
    reason: &str,
) -> Result<(), ReportError> {
    let mut conn = engine.storage.read().await?;
    let member = memberships::get(&mut conn, reporter.as_str(), room_id.as_str()).await?;
    drop(conn);
    if member.is_none_or(|member| member.membership != "join") {
        return Err(ReportError::NotFound);
    }
    let asking = Asking { user_id: reporter, device_id: None };
    match context::event(engine, asking, room_id, event_id).await {
        Ok(_) => {}
        Err(ReadError::Internal(error)) => return Err(error.into()),
        Err(_) => return Err(ReportError::NotFound),
    }
    let event = store::get(engine, room_id, event_id).await?;
    let row = ReportRow {
        room_id: Some(room_id.to_string()),
        event_id: Some(event_id.to_string()),
        user_id: event.map(|event| event.pdu.sender.to_string()),
        ..report(engine, reporter, reason)
    };
    keep(engine, row).await
}

/// Reports a user of this server, or one of whom it knows by a room.
///
/// # Errors
///
/// [`ReportError`].
pub async fn user(
    engine: &Engine,
    reporter: &UserId,
    user_id: &UserId,
    reason: &str,
) -> Result<(), ReportError> {
    let mut conn = engine.storage.read().await?;
    let is_known = match user_id.server_name() == engine.config.server_name {
        true => starling_storage::accounts::user(&mut conn, user_id.as_str()).await?.is_some(),
        false => memberships::is_known(&mut conn, user_id.as_str()).await?,
    };
    drop(conn);
    if !is_known {
        return Err(ReportError::NotFound);
    }
    let user_id = Some(user_id.to_string());
    keep(engine, ReportRow { user_id, ..report(engine, reporter, reason) }).await
}

/// The newest reports, the newest first.
///
/// # Errors
///
/// When the database fails.
pub async fn newest(engine: &Engine, limit: u32) -> Result<Vec<Report>, Internal> {
    let mut conn = engine.storage.read().await?;
    let wanted = Wanted { limit: limit.into(), ..Wanted::default() };
    let (rows, _) = page(&mut conn, &wanted).await?;
    let report = |row: ReportRow| Report {
        id: row.report_id,
        received_ts: row.received_ts,
        reporter: row.reporter,
        room_id: row.room_id,
        event_id: row.event_id,
        user_id: row.user_id,
        reason: row.reason,
    };
    Ok(rows.into_iter().map(report).collect())
}

fn report(engine: &Engine, reporter: &UserId, reason: &str) -> ReportRow {
    ReportRow {
        report_id: rng::token::<12>(),
        reporter: reporter.to_string(),
        room_id: None,
        event_id: None,
        user_id: None,
        reason: reason.chars().take(LONGEST_REASON).collect(),
        received_ts: engine.clock.now_ms(),
    }
}

async fn keep(engine: &Engine, row: ReportRow) -> Result<(), ReportError> {
    tracing::info!(report.id = row.report_id, "A user has reported something");
    let mut change = Change::new();
    change.write(Write::Report(row));
    engine.storage.commit(change).await.map_err(Internal::from)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reading::stage::{ALICE, BOB, on_stage, user as id};

    #[tokio::test]
    async fn the_newest_come_first_and_one_user_displaces_none_but_their_own() {
        on_stage(async |stage| {
            let room_id = &stage.room.room_id;
            room(&stage.engine, &id(BOB), room_id, &"\u{e9}".repeat(5_000)).await.unwrap();
            let mut change = Change::new();
            for number in 0..1_002_i64 {
                let row = report(&stage.engine, &id(ALICE), &number.to_string());
                let received_ts = row.received_ts + 1 + number;
                change.write(Write::Report(ReportRow { received_ts, ..row }));
            }
            stage.engine.storage.commit(change).await.unwrap();
            let reports = newest(&stage.engine, 5_000).await.unwrap();
            let (last, others) = reports.split_last().unwrap();
            assert_eq!(last.reporter, BOB);
            assert_eq!(last.reason.chars().count(), LONGEST_REASON);
            assert_eq!(others.len(), 1_000);
            assert_eq!((&*others[0].reason, &*others[999].reason), ("1001", "2"));
            assert_eq!(newest(&stage.engine, 3).await.unwrap(), reports[..3]);
        })
        .await;
    }
}
