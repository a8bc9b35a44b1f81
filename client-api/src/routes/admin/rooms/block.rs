//! GET /_synapse/admin/v1/rooms/{roomId}/block
//! PUT /_synapse/admin/v1/rooms/{roomId}/block

use ruma::OwnedRoomId;
use serde::Deserialize;
use serde_json::json;
use starling_engine::rooms::blocked;

use crate::{
    answer::{Answer, json as answer_json},
    call::Call,
};

#[derive(Deserialize)]
struct Body {
    block: bool,
}

pub(crate) async fn get(call: Call) -> Answer {
    call.administrator().await?;
    let room_id: OwnedRoomId = call.path_id(0)?;
    match blocked::by_whom(&call.engine, &room_id).await? {
        Some(user) => answer_json(&json!({ "block": true, "user_id": user })),
        None => answer_json(&json!({ "block": false })),
    }
}

/// A room may be blocked before anybody here has heard of it.
pub(crate) async fn put(mut call: Call) -> Answer {
    let session = call.administrator().await?;
    let room_id: OwnedRoomId = call.path_id(0)?;
    let Body { block } = call.body_as().await?;
    let by = block.then_some(session.user_id.as_str());
    blocked::set(&call.engine, &room_id, by).await?;
    answer_json(&json!({ "block": block }))
}
