//! GET /_synapse/admin/v1/users/{userId}/admin
//! PUT /_synapse/admin/v1/users/{userId}/admin

use ruma::OwnedUserId;
use serde::Deserialize;
use serde_json::json;
use starling_engine::admin::users::{self, Right};

use crate::{
    answer::{Answer, json as answer_json},
    call::Call,
};

#[derive(Deserialize)]
struct Body {
    admin: bool,
}

pub(crate) async fn get(call: Call) -> Answer {
    call.administrator().await?;
    let user: OwnedUserId = call.path_id(0)?;
    let account = users::get(&call.engine, &user).await?;
    answer_json(&json!({ "admin": account.is_admin }))
}

pub(crate) async fn put(mut call: Call) -> Answer {
    let session = call.administrator().await?;
    let user: OwnedUserId = call.path_id(0)?;
    let Body { admin } = call.body_as().await?;
    users::set(&call.engine, Some(&session.user_id), &user, Right::Admin, admin).await?;
    answer_json(&json!({}))
}
