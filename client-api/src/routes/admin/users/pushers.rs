//! GET /_synapse/admin/v1/users/{userId}/pushers

use ruma::OwnedUserId;
use serde_json::json;
use starling_engine::{admin::users, pushers::set};

use crate::{
    answer::{Answer, json as answer_json},
    call::Call,
    routes::pushers::shown,
};

pub(crate) async fn get(call: Call) -> Answer {
    call.administrator().await?;
    let user: OwnedUserId = call.path_id(0)?;
    users::get(&call.engine, &user).await?;
    let pushers = set::list(&call.engine, &user).await?;
    let pushers = pushers.into_iter().map(shown).collect::<Result<Vec<_>, _>>()?;
    answer_json(&json!({ "pushers": pushers, "total": pushers.len() }))
}
