//! POST /_synapse/admin/v1/deactivate/{userId}

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
    #[serde(default)]
    erase: bool,
}

pub(crate) async fn post(mut call: Call) -> Answer {
    call.administrator().await?;
    let user: OwnedUserId = call.path_id(0)?;
    let Body { erase } = call.body_as().await?;
    users::deactivate(&call.engine, &user, erase).await?;
    // There are no identity servers to ask, so nothing is left bound.
    answer_json(&json!({ "id_server_unbind_result": "success" }))
}
