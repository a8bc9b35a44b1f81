//! GET /_matrix/client/v3/rooms/{roomId}/event/{eventId}

use ruma::{OwnedEventId, OwnedRoomId};
use starling_engine::reading::{access::Asking, context};

use crate::{
    answer::{Answer, json},
    call::Call,
};

pub(crate) async fn get(call: Call) -> Answer {
    let session = call.authenticated_or_guest().await?;
    let room_id: OwnedRoomId = call.path_id(0)?;
    let event_id: OwnedEventId = call.path_id(1)?;
    let asking = Asking { user_id: &session.user_id, device_id: Some(&session.device_id) };
    json(&context::event(&call.engine, asking, &room_id, &event_id).await?)
}
