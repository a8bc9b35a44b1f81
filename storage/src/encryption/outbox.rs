//! Which servers are still to be told of which devices.
//!
//! A row is noted by the statement that changes a device, with position 0; at the end of the
//! transaction the fact [`crate::Fact::Devices`] gives it its position. What is sent is made of what
//! is true then, so a device of which a server is told has one row, however often it changes.

use crate::db::{Conn, Result, Row, sql};

/// Stands in the place of a device for a user's cross-signing keys.
pub const SIGNING_KEYS: &str = "";

/// A device of which a server is to be told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OutboxRow {
    /// The server.
    pub server: String,
    /// Whose device.
    pub user_id: String,
    /// The device, or [`SIGNING_KEYS`].
    pub device_id: String,
    /// Where it changed last.
    pub pos: i64,
    /// Up to where the server knows what changed about the user's devices.
    pub prev_pos: i64,
}

/// Rows of this table.
#[derive(Clone, Debug)]
pub enum Write {
    /// A server was told of a device as it was at a position, after which it knows all up to `known`.
    Told {
        /// The row as it was sent.
        row: OutboxRow,
        /// The position of the user's last change that was sent.
        known: i64,
    },
}

pub(super) async fn apply(conn: &mut Conn, write: Write) -> Result<()> {
    let Write::Told { row, known } = write;
    sql("DELETE FROM device_outbox \
         WHERE server = $1 AND user_id = $2 AND device_id = $3 AND pos = $4")
    .bind(&row.server)
    .bind(&row.user_id)
    .bind(row.device_id)
    .bind(row.pos)
    .execute(conn)
    .await?;
    sql("UPDATE device_outbox SET prev_pos = $3 \
         WHERE server = $1 AND user_id = $2 AND prev_pos < $3")
    .bind(row.server)
    .bind(row.user_id)
    .bind(known)
    .execute(conn)
    .await?;
    Ok(())
}

/// Notes that a device of a user of this deployment changed, for the servers that share a room with
/// the user.
pub(crate) async fn note(conn: &mut Conn, user_id: &str, device_id: &str) -> Result<()> {
    sql("INSERT INTO device_outbox (server, user_id, device_id, pos, prev_pos) \
         SELECT DISTINCT s.server, m.user_id, $2, CAST(0 AS BIGINT), \
         COALESCE((SELECT l.pos FROM device_lists l WHERE l.user_id = $1), 0) \
         FROM memberships m JOIN room_servers s ON s.room_id = m.room_id AND s.left_pos IS NULL \
         WHERE m.user_id = $1 AND m.membership = 'join' AND s.server <> $3 \
         ON CONFLICT (server, user_id, device_id) DO UPDATE SET pos = 0")
    .bind(user_id)
    .bind(device_id)
    .bind(server_of(user_id))
    .execute(conn)
    .await?;
    Ok(())
}

/// The same for devices that are about to be removed: one, or all of the user but `except`.
pub(super) async fn note_removed(
    conn: &mut Conn,
    user_id: &str,
    device_id: Option<&str>,
    except: &str,
) -> Result<()> {
    let devices: Vec<String> = match device_id {
        Some(device_id) => {
            sql("SELECT device_id FROM devices WHERE user_id = $1 AND device_id = $2")
                .bind(user_id)
                .bind(device_id)
        }
        None => sql("SELECT device_id FROM devices WHERE user_id = $1 AND device_id <> $2")
            .bind(user_id)
            .bind(except),
    }
    .map(conn, |row| row.get(0))
    .await?;
    for device in devices {
        note(conn, user_id, &device).await?;
    }
    Ok(())
}

/// Tells the servers in a room that shared none with a user of this deployment of all the user's
/// devices; those that are only said to be in it, which may be thousands, of those with keys. They may
/// remember devices from before: the number says whether these are the present ones.
pub(super) async fn introduce(conn: &mut Conn, user_id: &str, room_id: &str) -> Result<()> {
    sql("INSERT INTO device_outbox (server, user_id, device_id, pos, prev_pos) \
         SELECT s.server, l.user_id, d.device_id, l.pos, l.pos FROM device_lists l \
         JOIN devices d ON d.user_id = l.user_id \
         JOIN room_servers s ON s.room_id = $2 AND s.left_pos IS NULL AND s.server <> $3 \
         WHERE l.user_id = $1 AND NOT EXISTS (SELECT 1 FROM memberships m \
           JOIN room_servers r ON r.room_id = m.room_id AND r.left_pos IS NULL \
           WHERE r.server = s.server AND m.user_id = $1 AND m.membership = 'join' \
           AND m.room_id <> $2) \
         AND (s.assumed = 0 OR EXISTS (SELECT 1 FROM device_keys k \
           WHERE k.user_id = d.user_id AND k.device_id = d.device_id)) \
         ON CONFLICT (server, user_id, device_id) DO NOTHING")
    .bind(user_id)
    .bind(room_id)
    .bind(server_of(user_id))
    .execute(conn)
    .await?;
    Ok(())
}

/// Tells a server of all devices of a user: it missed changes of them.
pub(super) async fn remind(conn: &mut Conn, server: &str, user_id: &str) -> Result<()> {
    sql("INSERT INTO device_outbox (server, user_id, device_id, pos, prev_pos) \
         SELECT $1, l.user_id, d.device_id, l.pos, l.pos FROM device_lists l \
         JOIN devices d ON d.user_id = l.user_id WHERE l.user_id = $2 \
         ON CONFLICT (server, user_id, device_id) DO NOTHING")
    .bind(server)
    .bind(user_id)
    .execute(conn)
    .await?;
    Ok(())
}

/// Gives what was noted of a user its position.
pub(super) async fn place(conn: &mut Conn, user_id: &str, pos: i64) -> Result<()> {
    sql("UPDATE device_outbox SET pos = $2 WHERE user_id = $1 AND pos = 0")
        .bind(user_id)
        .bind(pos)
        .execute(conn)
        .await?;
    Ok(())
}

fn server_of(user_id: &str) -> &str {
    user_id.split_once(':').map_or("", |(_, server)| server)
}

fn from_row(row: &Row) -> Result<OutboxRow> {
    Ok(OutboxRow {
        server: row.get(0)?,
        user_id: row.get(1)?,
        device_id: row.get(2)?,
        pos: row.get(3)?,
        prev_pos: row.get(4)?,
    })
}

/// What a server is to be told first, at most `limit` devices, those of a user together and in the
/// order of their changes.
///
/// # Errors
///
/// When the database fails.
pub async fn next(conn: &mut Conn, server: &str, limit: i64) -> Result<Vec<OutboxRow>> {
    sql("SELECT server, user_id, device_id, pos, prev_pos FROM device_outbox \
         WHERE server = $1 AND pos > 0 ORDER BY user_id, pos, device_id LIMIT $2")
    .bind(server)
    .bind(limit)
    .map(conn, from_row)
    .await
}

/// The servers that are to be told of a user's devices.
///
/// # Errors
///
/// When the database fails.
pub async fn servers_for(conn: &mut Conn, user_id: &str) -> Result<Vec<String>> {
    sql("SELECT DISTINCT server FROM device_outbox WHERE user_id = $1")
        .bind(user_id)
        .map(conn, |row| row.get(0))
        .await
}
