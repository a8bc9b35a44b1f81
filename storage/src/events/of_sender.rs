//! What one user sent.

use crate::db::{Conn, Result, sql};

/// An event of a user in a room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SentRow {
    /// The event.
    pub event_id: String,
    /// When it was sent, as it says.
    pub origin_server_ts: i64,
    /// The event's JSON.
    pub json: String,
}

/// The events of a room that a user sent, the oldest first, after a time and an id.
///
/// # Errors
///
/// When the database fails.
pub async fn of_sender(
    conn: &mut Conn,
    room_id: &str,
    sender: &str,
    after: (i64, &str),
    limit: i64,
) -> Result<Vec<SentRow>> {
    sql("SELECT event_id, origin_server_ts, json FROM events \
         WHERE room_id = $1 AND sender = $2 AND origin_server_ts >= $3 \
         AND (origin_server_ts > $3 OR event_id > $4) \
         ORDER BY origin_server_ts, event_id LIMIT $5")
    .bind(room_id)
    .bind(sender)
    .bind(after.0)
    .bind(after.1)
    .bind(limit)
    .map(conn, |row| {
        Ok(SentRow { event_id: row.get(0)?, origin_server_ts: row.get(1)?, json: row.get(2)? })
    })
    .await
}
