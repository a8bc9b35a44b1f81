//! Messages to devices: those that wait for a device of this deployment, and those that wait for
//! another server.

use std::collections::BTreeMap;

use crate::{
    change::At,
    db::{Conn, Result, sql},
};

/// How many messages may wait for a device; beyond that the oldest of whoever sent most make room.
pub const MOST_WAITING: i64 = 10_000;

/// How many of them make room at once.
pub const FREED_AT_ONCE: i64 = 100;

/// Rows of this family.
#[derive(Clone, Debug)]
pub enum Write {
    /// A message for a device of this deployment; if there is no such device, nothing.
    Deliver {
        /// The user.
        user_id: String,
        /// The device.
        device_id: String,
        /// Who sent it.
        sender: String,
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
        Write::Deliver { user_id, device_id, sender, json, at } => {
            let pos = at.after(base);
            return deliver(conn, (&user_id, &device_id), (sender, json), pos).await;
        }
        Write::Send { server, json, at } => {
            sql("INSERT INTO to_device_outbox (server, pos, json) VALUES ($1, $2, $3)")
                .bind(server)
                .bind(at.after(base))
                .bind(json)
        }
        Write::Acknowledged { user_id, device_id, until } => {
            return remove(conn, &user_id, &device_id, (0, until)).await;
        }
        Write::Passed { user_id, device_id, after, until } => {
            return remove(conn, &user_id, &device_id, (after, until)).await;
        }
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

/// Puts a message into the inbox of a device, if there is such a device.
async fn deliver(
    conn: &mut Conn,
    (user_id, device_id): (&str, &str),
    (sender, json): (String, String),
    pos: i64,
) -> Result<()> {
    let delivered = sql("INSERT INTO to_device (user_id, device_id, pos, sender, json) \
         SELECT user_id, device_id, CAST($3 AS BIGINT), $4, $5 FROM devices \
         WHERE user_id = $1 AND device_id = $2 ON CONFLICT DO NOTHING")
    .bind(user_id)
    .bind(device_id)
    .bind(pos)
    .bind(sender)
    .bind(json)
    .execute(conn)
    .await?;
    if delivered == 0 {
        return Ok(());
    }
    let row = sql("UPDATE devices SET to_device_waiting = to_device_waiting + 1 \
         WHERE user_id = $1 AND device_id = $2 RETURNING to_device_waiting")
    .bind(user_id)
    .bind(device_id)
    .optional(conn)
    .await?;
    let waiting: i64 = row.map_or(Ok(0), |row| row.get(0))?;
    match waiting > MOST_WAITING {
        true => make_room(conn, user_id, device_id).await,
        false => Ok(()),
    }
}

/// Removes the oldest messages of those who have sent most to a device: several, so that a full inbox is not
/// counted for each message that comes.
async fn make_room(conn: &mut Conn, user_id: &str, device_id: &str) -> Result<()> {
    let senders: Vec<(String, i64)> = sql("SELECT sender, COUNT(*) FROM to_device \
         WHERE user_id = $1 AND device_id = $2 GROUP BY sender")
    .bind(user_id)
    .bind(device_id)
    .map(conn, |row| Ok((row.get(0)?, row.get(1)?)))
    .await?;
    let counted: i64 = senders.iter().map(|(_, count)| count).sum();
    let removed = sql("DELETE FROM to_device WHERE user_id = $1 AND device_id = $2 AND pos IN \
         (SELECT t.pos FROM to_device t WHERE t.user_id = $1 AND t.device_id = $2 \
          AND t.sender = ANY($3) ORDER BY t.pos LIMIT $4)")
    .bind(user_id)
    .bind(device_id)
    .bind(&*who_makes_room(senders))
    .bind(FREED_AT_ONCE)
    .execute(conn)
    .await?;
    sql("UPDATE devices SET to_device_waiting = $3 WHERE user_id = $1 AND device_id = $2")
        .bind(user_id)
        .bind(device_id)
        .bind(counted - i64::try_from(removed).unwrap_or(0))
        .execute(conn)
        .await?;
    Ok(())
}

/// Of the server whose users have most messages waiting those users who have most, as many as it takes for
/// [`FREED_AT_ONCE`]: who floods a device takes the place of others only until all servers have as many messages
/// waiting.
fn who_makes_room(senders: Vec<(String, i64)>) -> Vec<String> {
    let server = |sender: &str| sender.split_once(':').map(|(_, server)| server.to_owned());
    let mut by_server = BTreeMap::<_, Vec<(i64, String)>>::new();
    for (sender, count) in senders {
        by_server.entry(server(&sender)).or_default().push((count, sender));
    }
    let all = |senders: &[(i64, String)]| senders.iter().map(|(count, _)| *count).sum::<i64>();
    let most = by_server.into_values().max_by_key(|senders| all(senders));
    let mut most = most.unwrap_or_default();
    most.sort_unstable_by(|one, other| other.cmp(one));
    let mut found = 0;
    let enough = most.into_iter().take_while(|(count, _)| {
        let is_wanted = found < FREED_AT_ONCE;
        found += count;
        is_wanted
    });
    enough.map(|(_, sender)| sender).collect()
}

/// Removes what waits for a device after a position and up to another.
async fn remove(
    conn: &mut Conn,
    user_id: &str,
    device_id: &str,
    (after, until): (i64, i64),
) -> Result<()> {
    let removed = sql("DELETE FROM to_device \
         WHERE user_id = $1 AND device_id = $2 AND pos > $3 AND pos <= $4")
    .bind(user_id)
    .bind(device_id)
    .bind(after)
    .bind(until)
    .execute(conn)
    .await?;
    if removed == 0 {
        return Ok(());
    }
    sql("UPDATE devices SET to_device_waiting = to_device_waiting - $3 \
         WHERE user_id = $1 AND device_id = $2")
    .bind(user_id)
    .bind(device_id)
    .bind(i64::try_from(removed).unwrap_or(i64::MAX))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_sent_most_makes_room() {
        let who = |senders: &[(&str, i64)]| {
            who_makes_room(senders.iter().map(|(who, n)| ((*who).to_owned(), *n)).collect())
        };
        assert!(who(&[]).is_empty());
        assert_eq!(who(&[("", 3)]), [""]);
        // Many users of one server count together, and among them those with most.
        let flood = [("@a:evil", 40), ("@b:evil", 60), ("@c:evil", 50), ("@d:good", 140)];
        assert_eq!(who(&flood), ["@b:evil", "@c:evil"]);
        let flood = [("@a:evil", 40), ("@b:evil:8448", 200), ("@c:evil", 50), ("@d:good", 140)];
        assert_eq!(who(&flood), ["@b:evil:8448"]);
    }
}
