//! Rooms that nobody of this deployment may join.

use crate::db::{Conn, Result, sql};

/// A room is blocked, or not.
#[derive(Clone, Debug)]
pub struct Block {
    /// The room.
    pub room_id: String,
    /// Who blocks it, and when; `None`: it is not blocked any more.
    pub by: Option<(String, i64)>,
}

pub(crate) async fn apply(conn: &mut Conn, block: Block) -> Result<()> {
    let statement = match block.by {
        Some((user_id, ts)) => sql("INSERT INTO blocked_rooms (room_id, blocked_by, created_ts) \
             VALUES ($1, $2, $3) ON CONFLICT DO NOTHING")
        .bind(block.room_id)
        .bind(user_id)
        .bind(ts),
        None => sql("DELETE FROM blocked_rooms WHERE room_id = $1").bind(block.room_id),
    };
    statement.execute(conn).await?;
    Ok(())
}

/// Who blocked a room; `None`: it is not blocked.
///
/// # Errors
///
/// When the database fails.
pub async fn by_whom(conn: &mut Conn, room_id: &str) -> Result<Option<String>> {
    let row = sql("SELECT blocked_by FROM blocked_rooms WHERE room_id = $1")
        .bind(room_id)
        .optional(conn)
        .await?;
    row.map(|row| row.get(0)).transpose()
}
