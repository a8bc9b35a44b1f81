//! GET /_synapse/admin/v2/users/{userId}/devices
//! POST /_synapse/admin/v2/users/{userId}/devices
//! GET /_synapse/admin/v2/users/{userId}/devices/{deviceId}
//! PUT /_synapse/admin/v2/users/{userId}/devices/{deviceId}
//! DELETE /_synapse/admin/v2/users/{userId}/devices/{deviceId}

use http::StatusCode;
use ruma::{OwnedDeviceId, OwnedUserId};
use serde::Deserialize;
use serde_json::{Value, json};
use starling_engine::{
    accounts::devices::{self, DeviceRow},
    admin::users,
};

use crate::{
    answer::{Answer, json as answer_json},
    call::Call,
    error::Error,
};

#[derive(Deserialize)]
struct New {
    device_id: String,
}

#[derive(Deserialize)]
struct Name {
    display_name: Option<String>,
}

pub(crate) async fn get_all(call: Call) -> Answer {
    let user = user(&call).await?;
    let devices = devices::list(&call.engine, &user).await?;
    let shown: Vec<Value> = devices.iter().map(shown).collect();
    answer_json(&json!({ "devices": shown, "total": shown.len() }))
}

pub(crate) async fn post(mut call: Call) -> Answer {
    let user = user(&call).await?;
    let New { device_id } = call.body_as().await?;
    if device_id.is_empty() || device_id.len() > 255 {
        return Err(Error::invalid_param("A device's id has 1 to 255 bytes"));
    }
    users::add_device(&call.engine, &user, device_id.as_str().into()).await?;
    let mut answer = answer_json(&json!({}))?;
    *answer.status_mut() = StatusCode::CREATED;
    Ok(answer)
}

pub(crate) async fn get(call: Call) -> Answer {
    let user = user(&call).await?;
    let device = devices::get(&call.engine, &user, call.path_arg(1).into()).await?;
    answer_json(&shown(&device.ok_or_else(|| Error::not_found("There is no such device"))?))
}

pub(crate) async fn put(mut call: Call) -> Answer {
    let user = user(&call).await?;
    let Name { display_name } = call.body_as().await?;
    devices::rename(&call.engine, &user, call.path_arg(1).into(), display_name).await?;
    answer_json(&json!({}))
}

pub(crate) async fn delete(call: Call) -> Answer {
    let user = user(&call).await?;
    let device = OwnedDeviceId::from(call.path_arg(1));
    users::remove_devices(&call.engine, &user, &[device]).await?;
    answer_json(&json!({}))
}

/// The user of the path, who must have an account here.
async fn user(call: &Call) -> Result<OwnedUserId, Error> {
    call.administrator().await?;
    let user: OwnedUserId = call.path_id(0)?;
    users::get(&call.engine, &user).await?;
    Ok(user)
}

fn shown(device: &DeviceRow) -> Value {
    json!({
        "device_id": device.device_id,
        "display_name": device.display_name,
        "last_seen_ip": device.last_seen_ip,
        "last_seen_ts": device.last_seen_ts,
        "last_seen_user_agent": device.user_agent,
        "user_id": device.user_id,
    })
}
