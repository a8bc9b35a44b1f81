//! POST /_matrix/client/v3/users/{userId}/report

use ruma::OwnedUserId;
use serde_json::json;
use starling_engine::accounts::reports;

use crate::{
    answer::{Answer, json as answer_json},
    call::Call,
    limits::Doing,
    routes::rooms::report::Reasoned,
};

pub(crate) async fn post(mut call: Call) -> Answer {
    let session = call.authenticated().await?;
    call.limit(Doing::Account, &session)?;
    let user_id: OwnedUserId = call.path_id(0)?;
    let Reasoned { reason } = call.body_as().await?;
    reports::user(&call.engine, &session.user_id, &user_id, &reason).await?;
    answer_json(&json!({}))
}
