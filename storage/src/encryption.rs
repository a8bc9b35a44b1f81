//! End-to-end encryption: the keys of devices and users, whose lists of devices changed, and who is
//! still to be told.

use crate::db::{Conn, Result};

pub mod cross_signing;
pub mod dehydrated;
pub mod device_keys;
pub mod lists;
pub mod one_time_keys;
pub mod outbox;
pub mod remote_lists;

/// Rows of this family.
#[derive(Clone, Debug)]
pub enum Write {
    /// The identity keys of a device, which must be there.
    DeviceKeys {
        /// The user.
        user_id: String,
        /// The device.
        device_id: String,
        /// The keys with their signatures.
        json: String,
    },
    /// One-time and fallback keys.
    OneTimeKey(one_time_keys::Write),
    /// The keys by which users sign, and what they signed.
    CrossSigning(cross_signing::Write),
    /// The devices of other servers' users.
    RemoteList(remote_lists::Write),
    /// Devices that are nowhere.
    Dehydrated(dehydrated::Write),
    /// Other servers know now of changes.
    Outbox(outbox::Write),
    /// What follows from memberships.
    Lists(lists::Write),
}

/// Writes the rows of a batch that need no position, in their order.
pub(crate) async fn apply(conn: &mut Conn, rows: Vec<Write>) -> Result<()> {
    for row in rows {
        match row {
            Write::DeviceKeys { user_id, device_id, json } => {
                device_keys::put(conn, &user_id, &device_id, json).await?;
            }
            Write::OneTimeKey(write) => one_time_keys::apply(conn, write).await?,
            Write::CrossSigning(write) => cross_signing::apply(conn, write).await?,
            Write::RemoteList(write) => remote_lists::apply(conn, write).await?,
            Write::Dehydrated(write) => dehydrated::apply(conn, write).await?,
            Write::Outbox(write) => outbox::apply(conn, write).await?,
            // The writer puts these after the memberships.
            Write::Lists(_) => {}
        }
    }
    Ok(())
}

/// Removes all keys of a device; with `None` of all devices of the user but `except`.
pub(crate) async fn forget_devices(
    conn: &mut Conn,
    user_id: &str,
    device_id: Option<&str>,
    except: &str,
) -> Result<()> {
    outbox::note_removed(conn, user_id, device_id, except).await?;
    device_keys::forget(conn, user_id, device_id, except).await?;
    dehydrated::forget(conn, user_id, device_id, except).await?;
    one_time_keys::forget(conn, user_id, device_id, except).await
}
