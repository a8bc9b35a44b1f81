//! POST /_synapse/admin/v1/users/{userId}/shadow_ban
//! DELETE /_synapse/admin/v1/users/{userId}/shadow_ban

use ruma::OwnedUserId;
use serde_json::json;
use starling_engine::admin::users::{self, Right};

use crate::{
    answer::{Answer, json as answer_json},
    call::Call,
};

pub(crate) async fn post(call: Call) -> Answer {
    set(call, true).await
}

pub(crate) async fn delete(call: Call) -> Answer {
    set(call, false).await
}

async fn set(call: Call, banned: bool) -> Answer {
    let session = call.administrator().await?;
    let user: OwnedUserId = call.path_id(0)?;
    users::set(&call.engine, Some(&session.user_id), &user, Right::ShadowBanned, banned).await?;
    answer_json(&json!({}))
}
