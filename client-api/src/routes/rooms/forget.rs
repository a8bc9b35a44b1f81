//! POST /_matrix/client/v3/rooms/{roomId}/forget

use ruma::OwnedRoomId;
use serde_json::json;
use starling_engine::rooms::membership::forget;

use crate::{
    answer::{Answer, json as answer_json},
    call::Call,
};

pub(crate) async fn post(mut call: Call) -> Answer {
    let session = call.authenticated().await?;
    let room_id: OwnedRoomId = call.path_id(0)?;
    call.json_body().await?;
    forget::forget(&call.engine, &session.user_id, &room_id).await?;
    answer_json(&json!({}))
}
