//! Rooms, as administrators page through them.

use crate::{
    db::{Conn, Result, composed, sql},
    rooms::{COLUMNS, RoomRow, room_row},
};

/// The rooms after `after` in the order of their ids, at most `limit`.
///
/// # Errors
///
/// When the database fails.
pub async fn after(conn: &mut Conn, after: &str, limit: i64) -> Result<Vec<RoomRow>> {
    let text = format!("SELECT {COLUMNS} FROM rooms WHERE room_id > $1 ORDER BY room_id LIMIT $2");
    composed(text, vec![after.into(), limit.into()]).long().map(conn, room_row).await
}

/// The state events of some types with an empty state key, of some rooms: `(room_id, type, JSON)`.
///
/// # Errors
///
/// When the database fails.
pub async fn state_of(
    conn: &mut Conn,
    room_ids: &[String],
    kinds: &[String],
) -> Result<Vec<(String, String, String)>> {
    sql("SELECT c.room_id, c.type, e.json FROM current_state c \
         JOIN events e ON e.event_id = c.event_id AND e.room_id = c.room_id \
         WHERE c.room_id = ANY($1) AND c.type = ANY($2) AND c.state_key = ''")
    .bind(room_ids)
    .bind(kinds)
    .map(conn, |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
    .await
}

/// How many users of this deployment are joined to some rooms.
///
/// # Errors
///
/// When the database fails.
pub async fn local_members(conn: &mut Conn, room_ids: &[String]) -> Result<Vec<(String, i64)>> {
    sql("SELECT room_id, COUNT(*) FROM memberships \
         WHERE room_id = ANY($1) AND local = 1 AND membership = 'join' GROUP BY room_id")
    .bind(room_ids)
    .map(conn, |row| Ok((row.get(0)?, row.get(1)?)))
    .await
}

/// How many state events some rooms have.
///
/// # Errors
///
/// When the database fails.
pub async fn state_events(conn: &mut Conn, room_ids: &[String]) -> Result<Vec<(String, i64)>> {
    sql("SELECT room_id, COUNT(*) FROM current_state WHERE room_id = ANY($1) GROUP BY room_id")
        .bind(room_ids)
        .map(conn, |row| Ok((row.get(0)?, row.get(1)?)))
        .await
}

/// The rooms whose events take most bytes, those first. It reads every event.
///
/// # Errors
///
/// When the database fails.
pub async fn largest(conn: &mut Conn, limit: i64) -> Result<Vec<(String, i64)>> {
    sql("SELECT room_id, SUM(OCTET_LENGTH(json)) FROM events GROUP BY room_id \
         ORDER BY 2 DESC, room_id LIMIT $1")
    .bind(limit)
    .long()
    .map(conn, |row| Ok((row.get(0)?, row.get(1)?)))
    .await
}

/// How many devices the users of this deployment have who are joined to a room.
///
/// # Errors
///
/// When the database fails.
pub async fn local_devices(conn: &mut Conn, room_id: &str) -> Result<i64> {
    let row = sql("SELECT COUNT(*) FROM devices d JOIN memberships m ON m.user_id = d.user_id \
         WHERE m.room_id = $1 AND m.local = 1 AND m.membership = 'join'")
    .bind(room_id)
    .optional(conn)
    .await?;
    row.map_or(Ok(0), |row| row.get(0))
}

/// Everybody of this deployment who is, was or shall be in a room: `(user_id, membership)`.
///
/// # Errors
///
/// When the database fails.
pub async fn local(conn: &mut Conn, room_id: &str) -> Result<Vec<(String, String)>> {
    sql("SELECT user_id, membership FROM memberships WHERE room_id = $1 AND local = 1 \
         ORDER BY user_id")
    .bind(room_id)
    .map(conn, |row| Ok((row.get(0)?, row.get(1)?)))
    .await
}

/// The newest events of a user in a room that are no state and not redacted, the newest first.
///
/// # Errors
///
/// When the database fails.
pub async fn said_by(
    conn: &mut Conn,
    room_id: &str,
    user_id: &str,
    before: i64,
    limit: i64,
) -> Result<Vec<(String, i64)>> {
    sql("SELECT e.event_id, t.pos FROM timeline t \
         JOIN events e ON e.event_id = t.event_id AND e.room_id = t.room_id \
         WHERE t.room_id = $1 AND e.sender = $2 AND t.pos < $3 AND e.state_key IS NULL \
         AND e.redacted_by IS NULL AND e.type <> 'm.room.redaction' ORDER BY t.pos DESC LIMIT $4")
    .bind(room_id)
    .bind(user_id)
    .bind(before)
    .bind(limit)
    .map(conn, |row| Ok((row.get(0)?, row.get(1)?)))
    .await
}
