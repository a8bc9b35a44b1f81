//! POST /_synapse/admin/v2/users/{userId}/delete_devices

use ruma::{OwnedDeviceId, OwnedUserId};
use serde::Deserialize;
use serde_json::json;
use starling_engine::admin::users;

use crate::{
    answer::{Answer, json as answer_json},
    call::Call,
};

#[derive(Deserialize)]
struct Body {
    devices: Vec<OwnedDeviceId>,
}

pub(crate) async fn post(mut call: Call) -> Answer {
    call.administrator().await?;
    let user: OwnedUserId = call.path_id(0)?;
    let Body { devices } = call.body_as().await?;
    users::remove_devices(&call.engine, &user, &devices).await?;
    answer_json(&json!({}))
}
