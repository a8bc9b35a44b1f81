//! Rooms that let guests in no more. A row stays until those of this deployment have left.

use crate::db::{Conn, Result, sql};

/// A room that its guests are to leave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GuestRoomRow {
    /// The room.
    pub room_id: String,
    /// Different for each time: the room may have changed again while guests left.
    pub number: String,
}

/// Rows of this table.
#[derive(Clone, Debug)]
pub enum Write {
    /// Adds a room, or adds it anew.
    Put(GuestRoomRow),
    /// Removes a room that guests have left, unless it was added anew.
    Done(GuestRoomRow),
}

pub(crate) async fn apply(conn: &mut Conn, write: Write) -> Result<()> {
    let statement = match write {
        Write::Put(row) => sql("INSERT INTO guest_rooms (room_id, number) VALUES ($1, $2) \
             ON CONFLICT (room_id) DO UPDATE SET number = excluded.number")
        .bind(row.room_id)
        .bind(row.number),
        Write::Done(row) => sql("DELETE FROM guest_rooms WHERE room_id = $1 AND number = $2")
            .bind(row.room_id)
            .bind(row.number),
    };
    statement.execute(conn).await?;
    Ok(())
}

/// The rooms after one, in the order of their ids.
///
/// # Errors
///
/// When the database fails.
pub async fn after(conn: &mut Conn, room_id: &str, limit: i64) -> Result<Vec<GuestRoomRow>> {
    sql("SELECT room_id, number FROM guest_rooms WHERE room_id > $1 ORDER BY room_id LIMIT $2")
        .bind(room_id)
        .bind(limit)
        .map(conn, |row| Ok(GuestRoomRow { room_id: row.get(0)?, number: row.get(1)? }))
        .await
}

/// Guests of this deployment that are joined to a room.
///
/// # Errors
///
/// When the database fails.
pub async fn joined(conn: &mut Conn, room_id: &str) -> Result<Vec<String>> {
    sql("SELECT m.user_id FROM memberships m JOIN users u ON u.user_id = m.user_id \
         WHERE m.room_id = $1 AND m.local = 1 AND m.membership = 'join' AND (u.flags & $2) <> 0 \
         ORDER BY m.user_id")
    .bind(room_id)
    .bind(super::flags::GUEST)
    .map(conn, |row| row.get(0))
    .await
}
