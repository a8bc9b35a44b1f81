//! POST /_synapse/admin/v1/reset_password/{userId}

use ruma::OwnedUserId;
use serde::Deserialize;
use serde_json::json;
use starling_engine::admin::users;

use crate::{
    answer::{Answer, json as answer_json},
    call::Call,
};

#[derive(Deserialize)]
struct Body {
    new_password: String,
    #[serde(default = "yes")]
    logout_devices: bool,
}

pub(super) fn yes() -> bool {
    true
}

pub(crate) async fn post(mut call: Call) -> Answer {
    call.administrator().await?;
    let user: OwnedUserId = call.path_id(0)?;
    let Body { new_password, logout_devices } = call.body_as().await?;
    users::set_password(&call.engine, &user, new_password, logout_devices).await?;
    answer_json(&json!({}))
}
