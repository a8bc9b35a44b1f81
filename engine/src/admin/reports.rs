//! What users have reported.

use ruma::{EventId, RoomId};
use serde_json::value::RawValue;
use starling_storage::{
    Change,
    accounts::reports::ReportRow,
    admin::{Write, reports as rows},
};

pub use starling_storage::{accounts::reports::ReportRow as Row, admin::reports::Wanted};

use crate::{Engine, Internal, events::store};

/// A page of reports, and how many there are in all.
///
/// # Errors
///
/// When the database fails.
pub async fn list(engine: &Engine, wanted: &Wanted) -> Result<(Vec<ReportRow>, i64), Internal> {
    let mut conn = engine.storage.read().await?;
    Ok(rows::page(&mut conn, wanted).await?)
}

/// A report; `None` when there is none.
///
/// # Errors
///
/// When the database fails.
pub async fn get(engine: &Engine, report_id: &str) -> Result<Option<ReportRow>, Internal> {
    let mut conn = engine.storage.read().await?;
    Ok(rows::get(&mut conn, report_id).await?)
}

/// The event of a report as servers send it, if it is still there.
///
/// # Errors
///
/// When the database fails.
pub async fn event(engine: &Engine, report: &ReportRow) -> Result<Option<Box<RawValue>>, Internal> {
    let (Some(room_id), Some(event_id)) = (&report.room_id, &report.event_id) else {
        return Ok(None);
    };
    let (room_id, event_id) = (RoomId::parse(room_id)?, EventId::parse(event_id)?);
    let event = store::get(engine, &room_id, &event_id).await?;
    Ok(event.map(|event| event.pdu.json.clone()))
}

/// Removes a report. Says whether there was one.
///
/// # Errors
///
/// When the database fails.
pub async fn remove(engine: &Engine, report_id: &str) -> Result<bool, Internal> {
    let mut conn = engine.storage.read().await?;
    if !rows::exists(&mut conn, report_id).await? {
        return Ok(false);
    }
    drop(conn);
    let mut change = Change::new();
    change.write(Write::RemoveReport { report_id: report_id.to_owned() });
    engine.storage.commit(change).await?;
    Ok(true)
}
