//! GET /_matrix/client/v3/rooms/{roomId}/aliases
//! GET /_matrix/client/unstable/org.matrix.msc2432/rooms/{roomId}/aliases

use ruma::OwnedRoomId;
use serde_json::json;
use starling_engine::{reading::access::Asking, rooms::aliases};

use crate::{
    answer::{Answer, json as answer_json},
    call::Call,
};

pub(crate) async fn get(call: Call) -> Answer {
    let session = call.authenticated().await?;
    let room_id: OwnedRoomId = call.path_id(0)?;
    let asking = Asking { user_id: &session.user_id, device_id: Some(&session.device_id) };
    asking.member(&call.engine, &room_id).await?;
    let aliases = aliases::of_room(&call.engine, &room_id).await?;
    answer_json(&json!({ "aliases": aliases }))
}
