//! GET /_matrix/client/v3/rooms/{roomId}/initialSync

use ruma::OwnedRoomId;
use serde::Deserialize;
use starling_engine::{reading::access::Asking, sync::old};

use crate::{
    answer::{Answer, json},
    call::Call,
};

#[derive(Deserialize)]
struct Query {
    limit: Option<u64>,
}

pub(crate) async fn get(call: Call) -> Answer {
    let session = call.authenticated_or_guest().await?;
    let room_id: OwnedRoomId = call.path_id(0)?;
    let Query { limit } = call.query_as()?;
    let asking = Asking { user_id: &session.user_id, device_id: Some(&session.device_id) };
    json(&old::room(&call.engine, asking, &room_id, limit).await?)
}
