//! POST /_synapse/admin/v1/rooms/{roomId}/make_room_admin

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
    user_id: Option<OwnedUserId>,
}

pub(crate) async fn post(mut call: Call) -> Answer {
    let session = call.administrator().await?;
    let Named { room_id, .. } = Named::of(&call).await?;
    let Body { user_id } = call.body_as().await?;
    let user_id = user_id.unwrap_or(session.user_id);
    members::make_admin(&call.engine, &room_id, &user_id).await?;
    answer_json(&json!({}))
}
