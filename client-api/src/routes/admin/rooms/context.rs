//! GET /_synapse/admin/v1/rooms/{roomId}/context/{eventId}

use ruma::{OwnedEventId, OwnedRoomId};
use serde::Deserialize;
use starling_engine::reading::{access::Asking, context};

use crate::{
    answer::{Answer, json},
    call::Call,
    routes::rooms::messages::filter,
};

#[derive(Deserialize)]
struct Query {
    limit: Option<u64>,
    filter: Option<String>,
}

pub(crate) async fn get(call: Call) -> Answer {
    let session = call.administrator().await?;
    let room_id: OwnedRoomId = call.path_id(0)?;
    let event_id: OwnedEventId = call.path_id(1)?;
    let query: Query = call.query_as()?;
    let filter = filter(query.filter.as_deref())?;
    let asking = Asking { user_id: &session.user_id, device_id: None };
    let limit = query.limit;
    json(&context::overseen(&call.engine, asking, &room_id, &event_id, limit, &filter).await?)
}
