//! GET /_synapse/admin/v1/rooms/{roomId}/state

use ruma::OwnedRoomId;
use serde_json::json;
use starling_engine::admin::rooms;

use super::known;
use crate::{
    answer::{Answer, json as answer_json},
    call::Call,
};

pub(crate) async fn get(call: Call) -> Answer {
    let session = call.administrator().await?;
    let room_id: OwnedRoomId = call.path_id(0)?;
    known(&call, &room_id).await?;
    let state = rooms::state(&call.engine, &session.user_id, &room_id).await?;
    answer_json(&json!({ "state": state }))
}
