//! GET /_synapse/admin/v1/users/{userId}/memberships

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
    let memberships = users::memberships(&call.engine, &user).await?;
    answer_json(&json!({ "memberships": memberships }))
}
