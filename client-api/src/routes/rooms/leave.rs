//! POST /_matrix/client/v3/rooms/{roomId}/leave

use ruma::OwnedRoomId;
use serde_json::json;
use starling_engine::rooms::membership::{leave, notice_rooms};

use crate::wish::Wish;
use crate::{
    answer::{Answer, json as answer_json},
    call::Call,
};

pub(crate) async fn post(mut call: Call) -> Answer {
    let session = call.authenticated_or_guest().await?;
    let room_id: OwnedRoomId = call.path_id(0)?;
    let Wish { reason, .. } = Wish::of(&mut call).await?;
    notice_rooms::check_may_leave(&call.engine, &session.user_id, &room_id).await?;
    leave::leave(&call.engine, &session.user_id, &room_id, reason).await?;
    answer_json(&json!({}))
}
