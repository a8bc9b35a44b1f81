//! Messages to devices of this deployment: they wait until the device has them, and says so by the
//! token of its next /sync.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#send-to-device-messaging>

use std::collections::BTreeMap;

use ruma::{DeviceId, UserId};
use serde::Serialize;
use serde_json::value::RawValue;
use starling_storage::{Change, Conn, Fact, accounts::devices, to_device::Write};

use crate::{Engine, Internal};

/// Stands for all devices of a user.
pub const ALL_DEVICES: &str = "*";

/// Contents by user and device.
pub type Messages = BTreeMap<String, BTreeMap<String, Box<RawValue>>>;

/// A message as /sync shows it.
#[derive(Serialize)]
struct Message<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    sender: &'a UserId,
    content: &'a RawValue,
}

/// Removes the messages up to a position: the device has them.
///
/// # Errors
///
/// When the database fails.
pub(crate) async fn acknowledge(
    engine: &Engine,
    user: &UserId,
    device: &DeviceId,
    until: i64,
) -> Result<(), Internal> {
    let mut change = Change::new();
    let (user_id, device_id) = (user.to_string(), device.to_string());
    change.write(Write::Acknowledged { user_id, device_id, until });
    engine.storage.commit(change).await?;
    Ok(())
}

/// Adds to a change that devices of users of this deployment get a message. What is meant for all
/// devices of a user goes to those that have none of their own.
///
/// # Errors
///
/// When the database fails.
pub(crate) async fn deliver(
    conn: &mut Conn,
    change: &mut Change,
    sender: &UserId,
    kind: &str,
    messages: &Messages,
) -> Result<(), Internal> {
    for (user, by_device) in messages {
        let existing = devices::of_user(conn, user).await?;
        let mut at = None;
        for device in existing {
            let content = by_device.get(&device.device_id).or_else(|| by_device.get(ALL_DEVICES));
            let Some(content) = content else { continue };
            let at =
                *at.get_or_insert_with(|| change.fact(Fact::ToDevice { user_id: user.clone() }));
            let json = serde_json::to_string(&Message { kind, sender, content })?;
            let (user_id, device_id) = (user.clone(), device.device_id);
            let sender = sender.to_string();
            change.write(Write::Deliver { user_id, device_id, sender, json, at });
        }
    }
    Ok(())
}
