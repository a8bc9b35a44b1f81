//! What other servers ask about the keys of users of this deployment.
//!
//! What a device is called is told to servers that share a room with its user, and to no others.
//!
//! <https://spec.matrix.org/v1.19/server-server-api/#end-to-end-encryption>

use std::collections::HashSet;

use ruma::{ServerName, UserId};
use serde::Serialize;
use serde_json::Value;
use starling_storage::{accounts, encryption::lists, memberships};

use super::query::{self, Asking, Keys, Wanted};
use crate::{Engine, Internal};

/// A user's devices.
#[derive(Debug, Serialize)]
pub struct Devices {
    user_id: String,
    stream_id: i64,
    devices: Vec<Device>,
    #[serde(skip_serializing_if = "Option::is_none")]
    master_key: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    self_signing_key: Option<Value>,
}

#[derive(Debug, Serialize)]
struct Device {
    device_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    device_display_name: Option<String>,
    keys: Value,
}

/// The devices of a user of this deployment that have keys; `None`: there is no such user.
///
/// # Errors
///
/// When the database fails.
pub async fn devices(
    engine: &Engine,
    origin: &ServerName,
    user: &UserId,
) -> Result<Option<Devices>, Internal> {
    let user_id = user.to_string();
    let mut conn = engine.storage.snapshot().await?;
    if user.server_name() != engine.config.server_name
        || accounts::user(&mut conn, &user_id).await?.is_none()
    {
        return Ok(None);
    }
    let users = std::slice::from_ref(&user_id);
    let names = !memberships::sharing_with(&mut conn, origin.as_str(), users).await?.is_empty();
    let stream_id = lists::changed_at(&mut conn, &user_id).await?;
    let wanted = Wanted::from([(user_id.clone(), Vec::new())]);
    let mut keys = Keys::default();
    query::local(&mut conn, Asking::Server { names }, &wanted, &mut keys).await?;
    let devices = keys.device_keys.remove(&user_id).unwrap_or_default();
    Ok(Some(Devices {
        stream_id,
        devices: devices.into_iter().map(device).collect(),
        master_key: keys.master_keys.remove(&user_id),
        self_signing_key: keys.self_signing_keys.remove(&user_id),
        user_id,
    }))
}

fn device((device_id, mut keys): (String, Value)) -> Device {
    let unsigned = keys.as_object_mut().and_then(|keys| keys.remove("unsigned"));
    let name = unsigned.and_then(|unsigned| Some(unsigned["device_display_name"].as_str()?.into()));
    Device { device_id, device_display_name: name, keys }
}

/// The keys of users of this deployment. Users of others are left out: only their own servers speak
/// for them.
///
/// # Errors
///
/// When the database fails.
pub async fn query(engine: &Engine, origin: &ServerName, wanted: Wanted) -> Result<Keys, Internal> {
    let own = |user: &str| {
        <&UserId>::try_from(user).is_ok_and(|id| id.server_name() == engine.config.server_name)
    };
    let wanted: Wanted = wanted.into_iter().filter(|(user, _)| own(user)).collect();
    let users: Vec<String> = wanted.keys().cloned().collect();
    let mut conn = engine.storage.snapshot().await?;
    let sharing: HashSet<String> =
        memberships::sharing_with(&mut conn, origin.as_str(), &users).await?.into_iter().collect();
    let (with_names, without): (Wanted, Wanted) =
        wanted.into_iter().partition(|(user, _)| sharing.contains(user));
    let mut keys = Keys::default();
    query::local(&mut conn, Asking::Server { names: true }, &with_names, &mut keys).await?;
    query::local(&mut conn, Asking::Server { names: false }, &without, &mut keys).await?;
    Ok(keys)
}
