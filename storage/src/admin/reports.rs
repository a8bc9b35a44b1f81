//! Reports, as administrators page through them.

use crate::{
    accounts::reports::{COLUMNS, ReportRow, report_row},
    db::{Conn, Result, composed, sql},
};

/// Which reports are wanted.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Only those by a user.
    pub reporter: Option<String>,
    /// Only those about a room or its events.
    pub room_id: Option<String>,
    /// Only those about a user or what they sent.
    pub user_id: Option<String>,
    /// Only those about events.
    pub events_only: bool,
    /// The oldest first, instead of the newest.
    pub oldest_first: bool,
    /// How many to leave out.
    pub offset: i64,
    /// How many at most.
    pub limit: i64,
}

const CONDITIONS: &str = "($1 IS NULL OR reporter = $1) AND ($2 IS NULL OR room_id = $2) \
     AND ($3 IS NULL OR user_id = $3) AND ($4 = 0 OR event_id IS NOT NULL)";

/// A page of reports, and how many there are in all.
///
/// # Errors
///
/// When the database fails.
pub async fn page(conn: &mut Conn, wanted: &Wanted) -> Result<(Vec<ReportRow>, i64)> {
    let Wanted { reporter, room_id, user_id, .. } = wanted.clone();
    let mut values =
        vec![reporter.into(), room_id.into(), user_id.into(), wanted.events_only.into()];
    let count = format!("SELECT COUNT(*) FROM reports WHERE {CONDITIONS}");
    let count = composed(count, values.clone()).long().optional(conn).await?;
    let total = count.map_or(Ok(0), |row| row.get(0))?;
    let order = if wanted.oldest_first { "ASC" } else { "DESC" };
    values.extend([wanted.limit.into(), wanted.offset.into()]);
    let text = format!(
        "SELECT {COLUMNS} FROM reports WHERE {CONDITIONS} \
         ORDER BY received_ts {order}, report_id LIMIT $5 OFFSET $6"
    );
    Ok((composed(text, values).long().map(conn, report_row).await?, total))
}

/// A report.
///
/// # Errors
///
/// When the database fails.
pub async fn get(conn: &mut Conn, report_id: &str) -> Result<Option<ReportRow>> {
    let text = format!("SELECT {COLUMNS} FROM reports WHERE report_id = $1");
    let rows = composed(text, vec![report_id.into()]).map(conn, report_row).await?;
    Ok(rows.into_iter().next())
}

/// Whether there is a report.
///
/// # Errors
///
/// When the database fails.
pub async fn exists(conn: &mut Conn, report_id: &str) -> Result<bool> {
    let row = sql("SELECT report_id FROM reports WHERE report_id = $1").bind(report_id);
    Ok(row.optional(conn).await?.is_some())
}
