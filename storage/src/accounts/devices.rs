//! Devices.

use super::{passes, tokens};
use crate::{
    db::{Conn, Result, Row, sql},
    encryption, pushers, sliding, to_device,
};

/// A device of an account.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeviceRow {
    /// The user.
    pub user_id: String,
    /// The device.
    pub device_id: String,
    /// Its name, which the user may change.
    pub display_name: Option<String>,
    /// When it was made.
    pub created_ts: i64,
    /// When it last made a request.
    pub last_seen_ts: Option<i64>,
    /// From which address.
    pub last_seen_ip: Option<String>,
    /// By which program, as it says.
    pub user_agent: Option<String>,
}

/// Rows of this table.
#[derive(Clone, Debug)]
pub enum Write {
    /// Adds a device, unless the user has one of that id.
    Add(DeviceRow),
    /// Renames a device.
    Rename {
        /// The user.
        user_id: String,
        /// The device.
        device_id: String,
        /// The new name.
        display_name: Option<String>,
    },
    /// A device made a request.
    Seen {
        /// The user.
        user_id: String,
        /// The device.
        device_id: String,
        /// When.
        ts: i64,
        /// From which address.
        address: String,
        /// By which program, as it says.
        user_agent: Option<String>,
    },
    /// Removes a device with its tokens.
    Remove {
        /// The user.
        user_id: String,
        /// The device.
        device_id: String,
    },
    /// Removes all devices of a user with their tokens, but for one.
    RemoveAll {
        /// The user.
        user_id: String,
        /// The device that stays.
        except: Option<String>,
    },
}

pub(crate) async fn apply(conn: &mut Conn, write: Write) -> Result<()> {
    let statement = match write {
        Write::Add(d) => {
            encryption::outbox::note(conn, &d.user_id, &d.device_id).await?;
            sql("INSERT INTO devices (user_id, device_id, display_name, created_ts, \
                 last_seen_ts, last_seen_ip) VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING")
        .bind(d.user_id)
        .bind(d.device_id)
        .bind(d.display_name)
        .bind(d.created_ts)
        .bind(d.last_seen_ts)
        .bind(d.last_seen_ip)
        }
        Write::Rename { user_id, device_id, display_name } => {
            encryption::outbox::note(conn, &user_id, &device_id).await?;
            sql("UPDATE devices SET display_name = $3 WHERE user_id = $1 AND device_id = $2")
                .bind(user_id)
                .bind(device_id)
                .bind(display_name)
        }
        Write::Seen { user_id, device_id, ts, address, user_agent } => {
            sql("UPDATE devices SET last_seen_ts = $3, last_seen_ip = $4, user_agent = $5 \
                 WHERE user_id = $1 AND device_id = $2")
            .bind(user_id)
            .bind(device_id)
            .bind(ts)
            .bind(address)
            .bind(user_agent)
        }
        Write::Remove { user_id, device_id } => {
            tokens::remove_of_device(conn, &user_id, &device_id).await?;
            encryption::forget_devices(conn, &user_id, Some(&device_id), "").await?;
            to_device::forget_devices(conn, &user_id, Some(&device_id), "").await?;
            pushers::forget_devices(conn, &user_id, Some(&device_id), "").await?;
            sliding::forget_devices(conn, &user_id, Some(&device_id), "").await?;
            sql("DELETE FROM devices WHERE user_id = $1 AND device_id = $2")
                .bind(user_id)
                .bind(device_id)
        }
        Write::RemoveAll { user_id, except } => return remove_all(conn, user_id, except).await,
    };
    statement.execute(conn).await?;
    Ok(())
}

async fn remove_all(conn: &mut Conn, user_id: String, except: Option<String>) -> Result<()> {
    // A log-in token would bring a new device.
    passes::forget_logins(conn, &user_id).await?;
    // No device has the empty id.
    let except = except.unwrap_or_default();
    encryption::forget_devices(conn, &user_id, None, &except).await?;
    to_device::forget_devices(conn, &user_id, None, &except).await?;
    pushers::forget_devices(conn, &user_id, None, &except).await?;
    sliding::forget_devices(conn, &user_id, None, &except).await?;
    for text in [
        "DELETE FROM access_tokens WHERE user_id = $1 AND device_id <> $2",
        "DELETE FROM refresh_tokens WHERE user_id = $1 AND device_id <> $2",
        "DELETE FROM devices WHERE user_id = $1 AND device_id <> $2",
    ] {
        sql(text).bind(&user_id).bind(&except).execute(conn).await?;
    }
    Ok(())
}

fn from_row(row: &Row) -> Result<DeviceRow> {
    Ok(DeviceRow {
        user_id: row.get(0)?,
        device_id: row.get(1)?,
        display_name: row.get(2)?,
        created_ts: row.get(3)?,
        last_seen_ts: row.get(4)?,
        last_seen_ip: row.get(5)?,
        user_agent: row.get(6)?,
    })
}

/// The devices of a user.
///
/// # Errors
///
/// When the database fails.
pub async fn of_user(conn: &mut Conn, user_id: &str) -> Result<Vec<DeviceRow>> {
    sql("SELECT user_id, device_id, display_name, created_ts, last_seen_ts, last_seen_ip, \
         user_agent FROM devices WHERE user_id = $1 ORDER BY device_id")
    .bind(user_id)
    .map(conn, from_row)
    .await
}

/// A device.
///
/// # Errors
///
/// When the database fails.
pub async fn get(conn: &mut Conn, user_id: &str, device_id: &str) -> Result<Option<DeviceRow>> {
    let row = sql("SELECT user_id, device_id, display_name, created_ts, last_seen_ts, \
         last_seen_ip, user_agent FROM devices WHERE user_id = $1 AND device_id = $2")
    .bind(user_id)
    .bind(device_id)
    .optional(conn)
    .await?;
    row.map(|row| from_row(&row.row())).transpose()
}
