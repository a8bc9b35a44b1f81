//! Rooms that are joined before all of their state is known, and what is assumed of them until then.

use super::{RoomRow, flags};
use crate::{
    change::At,
    db::{Conn, Result, sql},
    events,
};

/// What completing a room needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartialRow {
    /// The room.
    pub room_id: String,
    /// The join by which this deployment came into it first.
    pub join_event_id: String,
    /// The servers that are said to be in it as a JSON list: the one that was joined by is the first.
    pub resident_servers: String,
    /// The position from which on devices of its members may have changed unnoticed.
    pub device_list_pos: i64,
}

/// Rows of this family.
#[derive(Clone, Debug)]
pub enum Write {
    /// Notes that only a part of the room's state is known.
    Begin {
        /// What completing it needs.
        row: PartialRow,
        /// Since when.
        at: At,
    },
    /// Notes that a server is said to be in the room: it is sent what happens there until the whole
    /// state is known.
    Assume {
        /// The room.
        room_id: String,
        /// The server.
        server: String,
        /// From when on.
        at: At,
    },
    /// Notes that the whole state is known. Of the servers that were assumed to be in the room those
    /// without members are out.
    End {
        /// The room.
        room_id: String,
        /// Since when.
        at: At,
    },
    /// Takes the state before the room's events for the whole one, as far as it is known.
    Unmark {
        /// The room.
        room_id: String,
    },
    /// Notes that the whole state before the room's events will not be known.
    Abandon {
        /// The room.
        room_id: String,
    },
}

pub(super) async fn apply_placed(conn: &mut Conn, base: i64, row: Write) -> Result<()> {
    match row {
        Write::Begin { row, at } => begin(conn, row, at.after(base)).await,
        Write::Assume { room_id, server, at } => {
            assume(conn, room_id, server, at.after(base)).await
        }
        Write::End { room_id, at } => end(conn, &room_id, at.after(base)).await,
        Write::Unmark { room_id } => {
            sql("UPDATE events SET flags = flags - 8 WHERE room_id = $1 AND (flags & 8) <> 0")
                .bind(room_id)
                .execute(conn)
                .await?;
            Ok(())
        }
        Write::Abandon { room_id } => {
            const _: () = assert!(events::flags::ABANDONED == 2 * 8, "the sum moves the bit");
            sql("UPDATE events SET flags = flags + 8 WHERE room_id = $1 AND (flags & 8) <> 0")
                .bind(room_id)
                .execute(conn)
                .await?;
            Ok(())
        }
    }
}

/// A second join while the room is incomplete knows newer servers, but not an older beginning.
async fn begin(conn: &mut Conn, row: PartialRow, pos: i64) -> Result<()> {
    sql("UPDATE rooms SET partial_pos = $2 WHERE room_id = $1 AND NOT EXISTS \
         (SELECT 1 FROM partial_rooms p WHERE p.room_id = $1)")
    .bind(&*row.room_id)
    .bind(pos)
    .execute(conn)
    .await?;
    sql("INSERT INTO partial_rooms (room_id, join_event_id, resident_servers, device_list_pos) \
         VALUES ($1, $2, $3, $4) ON CONFLICT (room_id) DO UPDATE SET \
         resident_servers = excluded.resident_servers")
    .bind(row.room_id)
    .bind(row.join_event_id)
    .bind(row.resident_servers)
    .bind(row.device_list_pos)
    .execute(conn)
    .await?;
    Ok(())
}

async fn assume(conn: &mut Conn, room_id: String, server: String, pos: i64) -> Result<()> {
    sql("INSERT INTO room_servers (room_id, server, joined_members, joined_pos, left_pos, assumed) \
         VALUES ($1, $2, 0, $3, NULL, CAST(1 AS SMALLINT)) \
         ON CONFLICT (server, room_id) DO UPDATE SET assumed = CAST(1 AS SMALLINT), left_pos = NULL, \
         joined_pos = CASE WHEN room_servers.left_pos IS NULL \
           THEN room_servers.joined_pos ELSE excluded.joined_pos END")
    .bind(room_id)
    .bind(server)
    .bind(pos)
    .execute(conn)
    .await?;
    Ok(())
}

async fn end(conn: &mut Conn, room_id: &str, pos: i64) -> Result<()> {
    for statement in [
        sql("UPDATE room_servers SET assumed = CAST(0 AS SMALLINT), \
             left_pos = CASE WHEN joined_members = 0 THEN $2 ELSE NULL END \
             WHERE room_id = $1 AND assumed = 1")
        .bind(room_id)
        .bind(pos),
        sql("UPDATE rooms SET full_pos = $2 WHERE room_id = $1").bind(room_id).bind(pos),
        sql("DELETE FROM partial_rooms WHERE room_id = $1").bind(room_id),
    ] {
        statement.execute(conn).await?;
    }
    Ok(())
}

/// The rooms of which only a part of the state is known.
///
/// # Errors
///
/// When the database fails.
pub async fn all(conn: &mut Conn) -> Result<Vec<PartialRow>> {
    sql("SELECT room_id, join_event_id, resident_servers, device_list_pos FROM partial_rooms \
         ORDER BY room_id")
    .map(conn, |row| {
        Ok(PartialRow {
            room_id: row.get(0)?,
            join_event_id: row.get(1)?,
            resident_servers: row.get(2)?,
            device_list_pos: row.get(3)?,
        })
    })
    .await
}

/// Whether only a part of the room's state is known.
///
/// # Errors
///
/// When the database fails.
pub async fn is_partial(conn: &mut Conn, room_id: &str) -> Result<bool> {
    let row =
        sql("SELECT flags FROM rooms WHERE room_id = $1").bind(room_id).optional(conn).await?;
    let bits: i16 = row.map(|row| row.get(0)).transpose()?.unwrap_or_default();
    Ok(bits & flags::PARTIAL_STATE != 0)
}

/// Of `room_ids` those of which only a part of the state is known, and those whose whole state is
/// known since a position after `after`: `(room_id, is_partial)`.
///
/// # Errors
///
/// When the database fails.
pub async fn incomplete_after(
    conn: &mut Conn,
    room_ids: &[String],
    after: i64,
) -> Result<Vec<(String, bool)>> {
    sql("SELECT room_id, flags FROM rooms WHERE room_id = ANY($1) \
         AND (full_pos > $2 OR (flags & 1) <> 0)")
    .bind(room_ids)
    .bind(after)
    .map(conn, |row| {
        let bits: i16 = row.get(1)?;
        Ok((row.get(0)?, bits & flags::PARTIAL_STATE != 0))
    })
    .await
}

/// From which position on the whole state of a room was known, if only a part of it was at `pos`.
///
/// # Errors
///
/// When the database fails.
pub async fn completed_after(conn: &mut Conn, room_id: &str, pos: i64) -> Result<Option<i64>> {
    let row = sql("SELECT full_pos FROM rooms \
         WHERE room_id = $1 AND partial_pos <= $2 AND full_pos > $2 AND partial_pos > 0");
    let row = row.bind(room_id).bind(pos).optional(conn).await?;
    row.map(|row| row.get(0)).transpose()
}

/// Whether a server is said to be in a room of which not all members are known.
///
/// # Errors
///
/// When the database fails.
pub async fn is_assumed(conn: &mut Conn, room_id: &str, server: &str) -> Result<bool> {
    let row = sql("SELECT 1 FROM room_servers WHERE room_id = $1 AND server = $2 AND assumed = 1");
    Ok(row.bind(room_id).bind(server).optional(conn).await?.is_some())
}

/// The servers that are believed to have left a room since only a part of its members is known.
///
/// # Errors
///
/// When the database fails.
pub async fn servers_left(conn: &mut Conn, room_id: &str) -> Result<Vec<String>> {
    sql("SELECT s.server FROM room_servers s JOIN rooms r ON r.room_id = s.room_id \
         WHERE s.room_id = $1 AND s.left_pos > r.partial_pos")
    .bind(room_id)
    .map(conn, |row| row.get(0))
    .await
}

/// How many members a room has at least that are not known: one of each server that is said to be in it and
/// of which none is known.
///
/// # Errors
///
/// When the database fails.
pub async fn unseen_members(conn: &mut Conn, room_id: &str) -> Result<i64> {
    let row = sql("SELECT COUNT(*) FROM room_servers \
                   WHERE room_id = $1 AND assumed = 1 AND joined_members = 0");
    row.bind(room_id).optional(conn).await?.map_or(Ok(0), |row| row.get(0))
}

/// Adds the members that are not known to those that are, of rooms of which a part is known.
///
/// # Errors
///
/// When the database fails.
pub async fn count_unseen(conn: &mut Conn, rooms: &mut [RoomRow]) -> Result<()> {
    for room in rooms.iter_mut().filter(|room| room.flags & flags::PARTIAL_STATE != 0) {
        room.joined_members += unseen_members(conn, &room.room_id).await?;
    }
    Ok(())
}

/// Whether a server is said to be in any room of which not all members are known.
///
/// # Errors
///
/// When the database fails.
pub async fn is_assumed_anywhere(conn: &mut Conn, server: &str) -> Result<bool> {
    let row = sql("SELECT 1 FROM room_servers WHERE server = $1 AND assumed = 1 LIMIT 1");
    Ok(row.bind(server).optional(conn).await?.is_some())
}

/// The shallowest `limit` events of a room whose state is known in part only, of those after a depth
/// and an ID.
///
/// # Errors
///
/// When the database fails.
pub async fn events(
    conn: &mut Conn,
    room_id: &str,
    after: (i64, &str),
    limit: i64,
) -> Result<Vec<(String, i64)>> {
    const _: () = assert!(events::flags::PARTIAL_STATE == 8, "the index names the bit");
    sql("SELECT event_id, depth FROM events WHERE room_id = $1 AND (flags & 8) <> 0 \
         AND depth >= $2 AND (depth > $2 OR event_id > $3) ORDER BY depth, event_id LIMIT $4")
    .bind(room_id)
    .bind(after.0)
    .bind(after.1)
    .bind(limit)
    .map(conn, |row| Ok((row.get(0)?, row.get(1)?)))
    .await
}
