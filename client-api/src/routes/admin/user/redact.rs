//! POST /_synapse/admin/v1/user/{userId}/redact

use ruma::{OwnedRoomId, OwnedUserId};
use serde::Deserialize;
use serde_json::json;
use starling_engine::admin::redact::{self, Wanted};

use crate::{
    answer::{Answer, json as answer_json},
    call::Call,
    error::Error,
};

#[derive(Deserialize)]
struct Body {
    rooms: Vec<OwnedRoomId>,
    reason: Option<String>,
    limit: Option<i64>,
    #[serde(default)]
    use_admin: bool,
}

pub(crate) async fn post(mut call: Call) -> Answer {
    let session = call.administrator().await?;
    let user: OwnedUserId = call.path_id(0)?;
    let Body { rooms, reason, limit, use_admin } = call.body_as().await?;
    if limit.is_some_and(|limit| limit <= 0) {
        return Err(Error::invalid_param("`limit` must be above zero"));
    }
    let by = session.user_id;
    let wanted = Wanted { by, by_admin: use_admin, rooms, reason, limit };
    let id = redact::schedule(&call.engine, &user, &wanted).await?;
    answer_json(&json!({ "redact_id": id }))
}
