//! What users have reported to the administrators.

use crate::db::{Conn, Result, Row, sql};

/// How many reports of one user are kept: the newest.
const KEPT_OF_ONE: i64 = 1_000;

/// A report of a room, of an event in a room, or of a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReportRow {
    /// A name for it.
    pub report_id: String,
    /// Who reports.
    pub reporter: String,
    /// The room.
    pub room_id: Option<String>,
    /// The event in the room.
    pub event_id: Option<String>,
    /// The user who is reported, or who sent the event.
    pub user_id: Option<String>,
    /// Why.
    pub reason: String,
    /// When.
    pub received_ts: i64,
}

pub(crate) async fn put(conn: &mut Conn, row: ReportRow) -> Result<()> {
    sql("INSERT INTO reports \
         (report_id, reporter, room_id, event_id, user_id, reason, received_ts) \
         VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING")
    .bind(row.report_id)
    .bind(&row.reporter)
    .bind(row.room_id)
    .bind(row.event_id)
    .bind(row.user_id)
    .bind(row.reason)
    .bind(row.received_ts)
    .execute(conn)
    .await?;
    sql("DELETE FROM reports WHERE reporter = $1 AND report_id NOT IN \
         (SELECT report_id FROM reports WHERE reporter = $1 \
          ORDER BY received_ts DESC, report_id LIMIT $2)")
    .bind(row.reporter)
    .bind(KEPT_OF_ONE)
    .execute(conn)
    .await?;
    Ok(())
}

pub(crate) const COLUMNS: &str =
    "report_id, reporter, room_id, event_id, user_id, reason, received_ts";

/// A row of [`COLUMNS`].
pub(crate) fn report_row(row: &Row) -> Result<ReportRow> {
    Ok(ReportRow {
        report_id: row.get(0)?,
        reporter: row.get(1)?,
        room_id: row.get(2)?,
        event_id: row.get(3)?,
        user_id: row.get(4)?,
        reason: row.get(5)?,
        received_ts: row.get(6)?,
    })
}
