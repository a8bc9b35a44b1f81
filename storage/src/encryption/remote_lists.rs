//! The devices of other servers' users who share a room with somebody here, as their servers told.
//!
//! A list is here as long as the server sends what changes about it: who begins to share a room, or
//! begins again, is asked for anew.

use super::cross_signing;
use crate::db::{Conn, Result, Row, sql};

/// How far a list is known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RemoteListRow {
    /// The user.
    pub user_id: String,
    /// Up to which of the server's numbers.
    pub stream_id: i64,
    /// Whether something was missed.
    pub stale: bool,
    /// How often it was asked for again in vain.
    pub failures: i64,
    /// When to ask again.
    pub retry_ts: i64,
}

/// A device of another server's user.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RemoteDeviceRow {
    /// The user.
    pub user_id: String,
    /// The device.
    pub device_id: String,
    /// Its name, if its server tells.
    pub display_name: Option<String>,
    /// Its identity keys.
    pub json: String,
}

/// Rows of these tables.
#[derive(Clone, Debug)]
pub enum Write {
    /// A list as the server gave it, in place of what was known.
    Replace {
        /// The user.
        user_id: String,
        /// The server's number for it.
        stream_id: i64,
        /// The devices that have keys.
        devices: Vec<RemoteDeviceRow>,
        /// The cross-signing keys by usage.
        signing_keys: Vec<(&'static str, String)>,
        /// If something is missed: when to ask again at the earliest.
        retry_ts: i64,
    },
    /// A device changed; without keys it is gone, or has none.
    Device {
        /// The user.
        user_id: String,
        /// The device.
        device_id: String,
        /// What it is now.
        device: Option<RemoteDeviceRow>,
        /// The server's number for the change.
        stream_id: i64,
    },
    /// Cross-signing keys changed.
    SigningKeys {
        /// The user.
        user_id: String,
        /// The keys by usage.
        keys: Vec<(&'static str, String)>,
    },
    /// Something was missed, or could not be asked for.
    Stale {
        /// The user.
        user_id: String,
        /// How often it was asked for in vain.
        failures: i64,
        /// When to ask again.
        retry_ts: i64,
    },
    /// Nobody tells us any more.
    Forget {
        /// The user.
        user_id: String,
    },
}

pub(super) async fn apply(conn: &mut Conn, write: Write) -> Result<()> {
    match write {
        Write::Replace { user_id, stream_id, devices, signing_keys, retry_ts } => {
            forget(conn, &user_id).await?;
            sql("INSERT INTO remote_lists (user_id, stream_id, stale, failures, retry_ts) \
                 VALUES ($1, $2, 0, 0, $3)")
            .bind(&user_id)
            .bind(stream_id)
            .bind(retry_ts)
            .execute(conn)
            .await?;
            for device in devices {
                put_device(conn, device).await?;
            }
            put_signing_keys(conn, &user_id, signing_keys).await
        }
        Write::Device { user_id, device_id, device, stream_id } => {
            sql("DELETE FROM remote_devices WHERE user_id = $1 AND device_id = $2")
                .bind(&user_id)
                .bind(device_id)
                .execute(conn)
                .await?;
            if let Some(device) = device {
                put_device(conn, device).await?;
            }
            sql("UPDATE remote_lists SET stream_id = $2 WHERE user_id = $1 AND stream_id < $2")
                .bind(user_id)
                .bind(stream_id)
                .execute(conn)
                .await?;
            Ok(())
        }
        Write::SigningKeys { user_id, keys } => put_signing_keys(conn, &user_id, keys).await,
        Write::Stale { user_id, failures, retry_ts } => {
            sql("UPDATE remote_lists SET stale = 1, failures = $2, retry_ts = $3 \
                 WHERE user_id = $1")
            .bind(user_id)
            .bind(failures)
            .bind(retry_ts)
            .execute(conn)
            .await?;
            Ok(())
        }
        Write::Forget { user_id } => forget(conn, &user_id).await,
    }
}

async fn put_device(conn: &mut Conn, device: RemoteDeviceRow) -> Result<()> {
    sql("INSERT INTO remote_devices (user_id, device_id, display_name, json) \
         VALUES ($1, $2, $3, $4) ON CONFLICT (user_id, device_id) DO UPDATE SET \
         display_name = excluded.display_name, json = excluded.json")
    .bind(device.user_id)
    .bind(device.device_id)
    .bind(device.display_name)
    .bind(device.json)
    .execute(conn)
    .await?;
    Ok(())
}

async fn put_signing_keys(
    conn: &mut Conn,
    user_id: &str,
    keys: Vec<(&'static str, String)>,
) -> Result<()> {
    for (usage, json) in keys {
        cross_signing::put(conn, user_id, usage, json).await?;
    }
    Ok(())
}

async fn forget(conn: &mut Conn, user_id: &str) -> Result<()> {
    for text in [
        "DELETE FROM remote_lists WHERE user_id = $1",
        "DELETE FROM remote_devices WHERE user_id = $1",
        "DELETE FROM cross_signing_keys WHERE user_id = $1",
    ] {
        sql(text).bind(user_id).execute(conn).await?;
    }
    Ok(())
}

/// Forgets the list of a user of another server who came into a room and shared none with anybody here
/// before.
pub(super) async fn forget_unless_shared(
    conn: &mut Conn,
    user_id: &str,
    room_id: &str,
) -> Result<()> {
    let known = sql("SELECT 1 FROM remote_lists l WHERE l.user_id = $1 AND NOT EXISTS \
         (SELECT 1 FROM memberships b JOIN memberships a ON a.room_id = b.room_id \
          AND a.local = 1 AND a.membership = 'join' \
          WHERE b.user_id = $1 AND b.membership = 'join' AND b.room_id <> $2)")
    .bind(user_id)
    .bind(room_id)
    .optional(conn)
    .await?;
    match known {
        Some(_) => forget(conn, user_id).await,
        None => Ok(()),
    }
}

/// Forgets the lists of those in a room into which the first user of this deployment came.
pub(super) async fn forget_if_alone(conn: &mut Conn, user_id: &str, room_id: &str) -> Result<()> {
    let users: Vec<String> = sql("SELECT l.user_id FROM memberships m \
         JOIN remote_lists l ON l.user_id = m.user_id \
         WHERE m.room_id = $2 AND m.membership = 'join' AND NOT EXISTS \
         (SELECT 1 FROM memberships o WHERE o.room_id = $2 AND o.local = 1 \
          AND o.membership = 'join' AND o.user_id <> $1)")
    .bind(user_id)
    .bind(room_id)
    .map(conn, |row| row.get(0))
    .await?;
    for user in users {
        forget_unless_shared(conn, &user, room_id).await?;
    }
    Ok(())
}

fn list_row(row: &Row) -> Result<RemoteListRow> {
    Ok(RemoteListRow {
        user_id: row.get(0)?,
        stream_id: row.get(1)?,
        stale: row.get(2)?,
        failures: row.get(3)?,
        retry_ts: row.get(4)?,
    })
}

/// How far the lists of some users are known; those that are not known are left out.
///
/// # Errors
///
/// When the database fails.
pub async fn known(conn: &mut Conn, users: &[String]) -> Result<Vec<RemoteListRow>> {
    sql("SELECT user_id, stream_id, stale, failures, retry_ts FROM remote_lists \
         WHERE user_id = ANY($1)")
    .bind(users)
    .map(conn, list_row)
    .await
}

/// Lists of which something was missed, that may be asked for again now.
///
/// # Errors
///
/// When the database fails.
pub async fn stale(conn: &mut Conn, now_ms: i64, limit: i64) -> Result<Vec<RemoteListRow>> {
    sql("SELECT user_id, stream_id, stale, failures, retry_ts FROM remote_lists \
         WHERE stale = 1 AND retry_ts <= $1 ORDER BY retry_ts LIMIT $2")
    .bind(now_ms)
    .bind(limit)
    .map(conn, list_row)
    .await
}

/// The devices of users of other servers.
///
/// # Errors
///
/// When the database fails.
pub async fn devices(conn: &mut Conn, users: &[String]) -> Result<Vec<RemoteDeviceRow>> {
    sql("SELECT user_id, device_id, display_name, json FROM remote_devices \
         WHERE user_id = ANY($1) ORDER BY user_id, device_id")
    .bind(users)
    .map(conn, |row| {
        Ok(RemoteDeviceRow {
            user_id: row.get(0)?,
            device_id: row.get(1)?,
            display_name: row.get(2)?,
            json: row.get(3)?,
        })
    })
    .await
}

/// Those of `users` who share a room with somebody here.
///
/// # Errors
///
/// When the database fails.
pub async fn shared(conn: &mut Conn, users: &[String]) -> Result<Vec<String>> {
    sql("SELECT DISTINCT b.user_id FROM memberships b \
         WHERE b.user_id = ANY($1) AND b.membership = 'join' AND EXISTS (SELECT 1 FROM memberships a \
           WHERE a.room_id = b.room_id AND a.local = 1 AND a.membership = 'join')")
    .bind(users)
    .map(conn, |row| row.get(0))
    .await
}
