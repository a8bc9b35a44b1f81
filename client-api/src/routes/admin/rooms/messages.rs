//! GET /_synapse/admin/v1/rooms/{roomId}/messages

use ruma::OwnedRoomId;
use starling_engine::admin::rooms;

use super::known;
use crate::{
    answer::{Answer, json},
    call::Call,
    routes::rooms::messages,
};

pub(crate) async fn get(call: Call) -> Answer {
    let session = call.administrator().await?;
    let room_id: OwnedRoomId = call.path_id(0)?;
    known(&call, &room_id).await?;
    let request = messages::request(&call)?;
    json(&rooms::history(&call.engine, &session.user_id, &room_id, request).await?)
}
