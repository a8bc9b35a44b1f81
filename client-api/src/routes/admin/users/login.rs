//! POST /_synapse/admin/v1/users/{userId}/login

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
    valid_until_ms: Option<i64>,
}

pub(crate) async fn post(mut call: Call) -> Answer {
    let session = call.administrator().await?;
    let user: OwnedUserId = call.path_id(0)?;
    let Body { valid_until_ms } = call.body_as().await?;
    let by = &session.user_id;
    let access_token = users::log_in_as(&call.engine, by, &user, valid_until_ms).await?;
    answer_json(&json!({ "access_token": access_token }))
}
