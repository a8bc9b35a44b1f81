//! Devices that are nowhere: one of a user's may be kept here, to get messages until a client takes it
//! over (MSC3814).

use crate::db::{Conn, Result, sql};

/// Rows of this table.
#[derive(Clone, Debug)]
pub enum Write {
    /// Keeps a device, which was added as any other.
    Put {
        /// The user.
        user_id: String,
        /// The device.
        device_id: String,
        /// What a client needs to take it over, a JSON object.
        device_data: String,
    },
}

pub(super) async fn apply(conn: &mut Conn, write: Write) -> Result<()> {
    let Write::Put { user_id, device_id, device_data } = write;
    sql("INSERT INTO dehydrated_devices (user_id, device_id, device_data) VALUES ($1, $2, $3) \
         ON CONFLICT (user_id) DO UPDATE SET device_id = excluded.device_id, \
         device_data = excluded.device_data")
    .bind(user_id)
    .bind(device_id)
    .bind(device_data)
    .execute(conn)
    .await?;
    Ok(())
}

pub(super) async fn forget(
    conn: &mut Conn,
    user_id: &str,
    device_id: Option<&str>,
    except: &str,
) -> Result<()> {
    match device_id {
        Some(device_id) => {
            sql("DELETE FROM dehydrated_devices WHERE user_id = $1 AND device_id = $2")
                .bind(user_id)
                .bind(device_id)
        }
        None => sql("DELETE FROM dehydrated_devices WHERE user_id = $1 AND device_id <> $2")
            .bind(user_id)
            .bind(except),
    }
    .execute(conn)
    .await?;
    Ok(())
}

/// The device of a user that is kept here, with what a client needs to take it over.
///
/// # Errors
///
/// When the database fails.
pub async fn get(conn: &mut Conn, user_id: &str) -> Result<Option<(String, String)>> {
    let row = sql("SELECT device_id, device_data FROM dehydrated_devices WHERE user_id = $1")
        .bind(user_id)
        .optional(conn)
        .await?;
    row.map(|row| Ok((row.get(0)?, row.get(1)?))).transpose()
}
