//! POST /_synapse/admin/v1/join/{roomIdOrAlias}

use ruma::OwnedUserId;
use serde::Deserialize;
use serde_json::json;
use starling_engine::admin::members;

use crate::{
    answer::{Answer, json as answer_json},
    call::Call,
    wish::Named,
};

#[derive(Deserialize)]
struct Body {
    user_id: OwnedUserId,
}

pub(crate) async fn post(mut call: Call) -> Answer {
    let session = call.administrator().await?;
    let Named { room_id, via } = Named::of(&call).await?;
    let Body { user_id } = call.body_as().await?;
    members::join(&call.engine, &session.user_id, &user_id, &room_id, via).await?;
    answer_json(&json!({ "room_id": room_id }))
}
