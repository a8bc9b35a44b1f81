//! GET /_synapse/admin/v1/users/{userId}/accountdata

use ruma::OwnedUserId;
use serde_json::json;
use starling_engine::admin::users;

use crate::{
    answer::{Answer, json as answer_json},
    call::Call,
};

pub(crate) async fn get(call: Call) -> Answer {
    call.administrator().await?;
    let user: OwnedUserId = call.path_id(0)?;
    users::get(&call.engine, &user).await?;
    let mut rooms = users::account_data(&call.engine, &user).await?;
    let global = rooms.remove("").unwrap_or_default();
    answer_json(&json!({ "account_data": { "global": global, "rooms": rooms } }))
}
