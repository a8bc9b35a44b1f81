//! GET /_matrix/client/v3/rooms/{roomId}/context/{eventId}

use ruma::{OwnedEventId, OwnedRoomId};
use serde::Deserialize;
use starling_engine::reading::{access::Asking, context};

use super::messages::filter;
use crate::{
    answer::{Answer, json},
    call::Call,
};

#[derive(Deserialize)]
struct Query {
    limit: Option<u64>,
    filter: Option<String>,
}

pub(crate) async fn get(call: Call) -> Answer {
    let session = call.authenticated_or_guest().await?;
    let room_id: OwnedRoomId = call.path_id(0)?;
    let event_id: OwnedEventId = call.path_id(1)?;
    let query: Query = call.query_as()?;
    let filter = filter(query.filter.as_deref())?;
    let asking = Asking { user_id: &session.user_id, device_id: Some(&session.device_id) };
    let limit = query.limit;
    json(&context::context(&call.engine, asking, &room_id, &event_id, limit, &filter).await?)
}
