//! The identity keys of devices of this deployment.

use super::outbox;
use crate::db::{Conn, Result, Row, sql};

/// A device with its identity keys, if it has any.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeviceKeysRow {
    /// The user.
    pub user_id: String,
    /// The device.
    pub device_id: String,
    /// Its name.
    pub display_name: Option<String>,
    /// The keys with their signatures.
    pub json: Option<String>,
}

pub(super) async fn put(
    conn: &mut Conn,
    user_id: &str,
    device_id: &str,
    json: String,
) -> Result<()> {
    sql("INSERT INTO device_keys (user_id, device_id, json) \
         SELECT user_id, device_id, $3 FROM devices WHERE user_id = $1 AND device_id = $2 \
         ON CONFLICT (user_id, device_id) DO UPDATE SET json = excluded.json")
    .bind(user_id)
    .bind(device_id)
    .bind(json)
    .execute(conn)
    .await?;
    outbox::note(conn, user_id, device_id).await
}

pub(super) async fn forget(
    conn: &mut Conn,
    user_id: &str,
    device_id: Option<&str>,
    except: &str,
) -> Result<()> {
    match device_id {
        Some(device_id) => sql("DELETE FROM device_keys WHERE user_id = $1 AND device_id = $2")
            .bind(user_id)
            .bind(device_id),
        None => sql("DELETE FROM device_keys WHERE user_id = $1 AND device_id <> $2")
            .bind(user_id)
            .bind(except),
    }
    .execute(conn)
    .await?;
    Ok(())
}

fn from_row(row: &Row) -> Result<DeviceKeysRow> {
    Ok(DeviceKeysRow {
        user_id: row.get(0)?,
        device_id: row.get(1)?,
        display_name: row.get(2)?,
        json: row.get(3)?,
    })
}

/// The devices of users of this deployment, with and without keys.
///
/// # Errors
///
/// When the database fails.
pub async fn of_users(conn: &mut Conn, users: &[String]) -> Result<Vec<DeviceKeysRow>> {
    sql("SELECT d.user_id, d.device_id, d.display_name, k.json FROM devices d \
         LEFT JOIN device_keys k ON k.user_id = d.user_id AND k.device_id = d.device_id \
         WHERE d.user_id = ANY($1) ORDER BY d.user_id, d.device_id")
    .bind(users)
    .map(conn, from_row)
    .await
}

/// A device of a user of this deployment.
///
/// # Errors
///
/// When the database fails.
pub async fn get(conn: &mut Conn, user_id: &str, device_id: &str) -> Result<Option<DeviceKeysRow>> {
    let row = sql("SELECT d.user_id, d.device_id, d.display_name, k.json FROM devices d \
         LEFT JOIN device_keys k ON k.user_id = d.user_id AND k.device_id = d.device_id \
         WHERE d.user_id = $1 AND d.device_id = $2")
    .bind(user_id)
    .bind(device_id)
    .optional(conn)
    .await?;
    row.map(|row| from_row(&row.row())).transpose()
}
