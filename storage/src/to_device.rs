//! Messages to devices: those that wait for a device of this deployment, and those that wait for
//! another server.

use crate::{
    change::At,
    db::{Conn, Result, sql},
};

/// How many messages may wait for a device; beyond that the oldest make room.
pub const MOST_WAITING: i64 = 10_000;

/// Rows of this family.
#[derive(Clone, Debug)]
pub enum Write {
    /// A message for a device of this deployment; if there is no such device, nothing.
    Deliver {
        /// The user.
        user_id: String,
        /// The device.
        device_id: String,
        /// The message as /sync shows it.
        json: String,
        /// The fact of it.
        at: At,
    },
    /// A message for another server, which passes it on.
    Send {
        /// The server.
        server: String,
        /// The content of the EDU.
        json: String,
        /// The fact of it.
        at: At,
    },
    /// A device has the messages up to a position.
    Acknowledged {
        /// The user.
        user_id: String,
        /// The device.
        device_id: String,
        /// The position.
        until: i64,
    },
    /// The application service of a user has the messages for a device after a position and up to another.
    Passed {
        /// The user.
        user_id: String,
        /// The device.
        device_id: String,
        /// The position before the first of them.
        after: i64,
        /// The position of the last.
        until: i64,
    },
    /// A server has the message of that position.
    Sent {
        /// The server.
        server: String,
        /// The position.
        pos: i64,
    },
    /// Forgets which messages came before a time.
    ForgetReceived {
        /// The time.
        before: i64,
    },
}

/// Another server's message, which is taken once.
#[derive(Clone, Debug)]
pub struct Received {
    /// The server.
    pub origin: String,
    /// Its ID for the message.
    pub message_id: String,
    /// When it came.
    pub ts: i64,
}

/// Notes that a message came; `false` when it had before.
pub(crate) async fn claim(conn: &mut Conn, received: &Received) -> Result<bool> {
    let changed = sql("INSERT INTO to_device_received (origin, message_id, received_ts) \
         VALUES ($1, $2, $3) ON CONFLICT DO NOTHING")
    .bind(&received.origin)
    .bind(&received.message_id)
    .bind(received.ts)
    .execute(conn)
    .await?;
    Ok(changed == 1)
}

/// Writes the rows of a batch in their order; `base` is the position before each change's first fact.
pub(crate) async fn apply(conn: &mut Conn, rows: Vec<(i64, Write)>) -> Result<()> {
    for (base, row) in rows {
        apply_one(conn, base, row).await?;
    }
    Ok(())
}

async fn apply_one(conn: &mut Conn, base: i64, row: Write) -> Result<()> {
    match row {
        Write::Deliver { user_id, device_id, json, at } => {
            return deliver(conn, &user_id, &device_id, json, at.after(base)).await;
        }
        Write::Send { server, json, at } => {
            sql("INSERT INTO to_device_outbox (server, pos, json) VALUES ($1, $2, $3)")
                .bind(server)
                .bind(at.after(base))
                .bind(json)
        }
        Write::Acknowledged { user_id, device_id, until } => {
            sql("DELETE FROM to_device WHERE user_id = $1 AND device_id = $2 AND pos <= $3")
                .bind(user_id)
                .bind(device_id)
                .bind(until)
        }
        Write::Passed { user_id, device_id, after, until } => sql("DELETE FROM to_device \
             WHERE user_id = $1 AND device_id = $2 AND pos > $3 AND pos <= $4")
        .bind(user_id)
        .bind(device_id)
        .bind(after)
        .bind(until),
        Write::Sent { server, pos } => {
            sql("DELETE FROM to_device_outbox WHERE server = $1 AND pos = $2")
                .bind(server)
                .bind(pos)
        }
        Write::ForgetReceived { before } => {
            sql("DELETE FROM to_device_received WHERE received_ts < $1").bind(before)
        }
    }
    .execute(conn)
    .await?;
    Ok(())
}

async fn deliver(
    conn: &mut Conn,
    user_id: &str,
    device_id: &str,
    json: String,
    pos: i64,
) -> Result<()> {
    sql("INSERT INTO to_device (user_id, device_id, pos, json) \
         SELECT user_id, device_id, CAST($3 AS BIGINT), $4 FROM devices \
         WHERE user_id = $1 AND device_id = $2 ON CONFLICT DO NOTHING")
    .bind(user_id)
    .bind(device_id)
    .bind(pos)
    .bind(json)
    .execute(conn)
    .await?;
    sql("DELETE FROM to_device WHERE user_id = $1 AND device_id = $2 AND pos <= \
         (SELECT t.pos FROM to_device t WHERE t.user_id = $1 AND t.device_id = $2 \
          ORDER BY t.pos DESC LIMIT 1 OFFSET $3)")
    .bind(user_id)
    .bind(device_id)
    .bind(MOST_WAITING)
    .execute(conn)
    .await?;
    Ok(())
}

/// Removes what waits for a device; with `None` for all devices of the user but `except`.
pub(crate) async fn forget_devices(
    conn: &mut Conn,
    user_id: &str,
    device_id: Option<&str>,
    except: &str,
) -> Result<()> {
    match device_id {
        Some(device_id) => sql("DELETE FROM to_device WHERE user_id = $1 AND device_id = $2")
            .bind(user_id)
            .bind(device_id),
        None => sql("DELETE FROM to_device WHERE user_id = $1 AND device_id <> $2")
            .bind(user_id)
            .bind(except),
    }
    .execute(conn)
    .await?;
    Ok(())
}

/// The messages for a device after a position and up to another, oldest first, with their positions.
///
/// # Errors
///
/// When the database fails.
pub async fn waiting(
    conn: &mut Conn,
    user_id: &str,
    device_id: &str,
    (after, until): (i64, i64),
    limit: i64,
) -> Result<Vec<(i64, String)>> {
    sql("SELECT pos, json FROM to_device WHERE user_id = $1 AND device_id = $2 \
         AND pos > $3 AND pos <= $4 ORDER BY pos LIMIT $5")
    .bind(user_id)
    .bind(device_id)
    .bind(after)
    .bind(until)
    .bind(limit)
    .map(conn, |row| Ok((row.get(0)?, row.get(1)?)))
    .await
}

/// The messages that came at a position for devices of a user, each with its device.
///
/// # Errors
///
/// When the database fails.
pub async fn at(conn: &mut Conn, user_id: &str, pos: i64) -> Result<Vec<(String, String)>> {
    sql("SELECT device_id, json FROM to_device WHERE user_id = $1 AND pos = $2 ORDER BY device_id")
        .bind(user_id)
        .bind(pos)
        .map(conn, |row| Ok((row.get(0)?, row.get(1)?)))
        .await
}

/// The messages for a server, oldest first, with their positions.
///
/// # Errors
///
/// When the database fails.
pub async fn outgoing(conn: &mut Conn, server: &str, limit: i64) -> Result<Vec<(i64, String)>> {
    sql("SELECT pos, json FROM to_device_outbox WHERE server = $1 ORDER BY pos LIMIT $2")
        .bind(server)
        .bind(limit)
        .map(conn, |row| Ok((row.get(0)?, row.get(1)?)))
        .await
}
