//! GET /_synapse/admin/v1/users/{userId}/joined_rooms

use ruma::OwnedUserId;
use serde_json::json;
use starling_engine::rooms::membership;

use crate::{
    answer::{Answer, json as answer_json},
    call::Call,
};

/// Of users of other servers, the rooms that are known here.
pub(crate) async fn get(call: Call) -> Answer {
    call.administrator().await?;
    let user: OwnedUserId = call.path_id(0)?;
    let rooms = membership::joined_rooms(&call.engine, &user).await?;
    answer_json(&json!({ "joined_rooms": rooms, "total": rooms.len() }))
}
