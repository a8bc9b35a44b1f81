//! How state events rank above those that authorise them.

use crate::{
    bulk,
    db::{Conn, Result, Value, sql},
};

/// A state event's rank.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RankRow {
    /// The room.
    pub room_id: String,
    /// The event.
    pub event_id: String,
    /// One more than the highest of those that authorise it.
    pub rank: i64,
}

pub(super) async fn put(conn: &mut Conn, rows: Vec<RankRow>) -> Result<()> {
    let rows = bulk::last_by_key(rows, |row| (row.event_id.clone(), row.room_id.clone()));
    let values = rows.into_iter().map(|row| -> Vec<Value> {
        vec![row.room_id.into(), row.event_id.into(), row.rank.into()]
    });
    bulk::insert(
        conn,
        "INSERT INTO auth_ranks (room_id, event_id, auth_rank)",
        "ON CONFLICT DO NOTHING",
        values,
    )
    .await
}

/// Those of some events of a room that are ranked, with their ranks.
///
/// # Errors
///
/// When the database fails.
pub async fn ranks(
    conn: &mut Conn,
    room_id: &str,
    event_ids: &[String],
) -> Result<Vec<(String, i64)>> {
    if event_ids.is_empty() {
        return Ok(Vec::new());
    }
    sql("SELECT event_id, auth_rank FROM auth_ranks WHERE event_id = ANY($2) AND room_id = $1")
        .bind(room_id)
        .bind(event_ids)
        .map(conn, |row| Ok((row.get(0)?, row.get(1)?)))
        .await
}
