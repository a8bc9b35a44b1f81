//! POST /_matrix/client/v3/rooms/{roomId}/join

use ruma::OwnedRoomId;
use serde_json::json;
use starling_engine::rooms::membership::join::{self, Join};

use super::wish::Wish;
use crate::{
    answer::{Answer, json as answer_json},
    call::Call,
    limits::Doing,
};

pub(crate) async fn post(mut call: Call) -> Answer {
    let session = call.authenticated().await?;
    call.door.limits.user(Doing::Joining, &session.user_id)?;
    let room_id: OwnedRoomId = call.path_id(0)?;
    let Wish { reason, more } = Wish::of(&mut call).await?;
    let via = Vec::new();
    let join = Join { user_id: &session.user_id, room_id: &room_id, via, reason, more };
    join::join(&call.engine, join).await?;
    answer_json(&json!({ "room_id": room_id }))
}
