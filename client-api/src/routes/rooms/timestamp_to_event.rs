//! GET /_matrix/client/v1/rooms/{roomId}/timestamp_to_event
//! GET /_matrix/client/unstable/org.matrix.msc3030/rooms/{roomId}/timestamp_to_event

use ruma::{OwnedRoomId, api::Direction};
use serde::Deserialize;
use starling_engine::reading::{access::Asking, moments};

use crate::{
    answer::{Answer, json},
    call::Call,
    limits::Doing,
};

#[derive(Deserialize)]
struct Query {
    ts: i64,
    dir: Direction,
}

pub(crate) async fn get(call: Call) -> Answer {
    let session = call.authenticated().await?;
    call.limit(Doing::Asking, &session)?;
    let room_id: OwnedRoomId = call.path_id(0)?;
    let Query { ts, dir } = call.query_as()?;
    let asking = Asking { user_id: &session.user_id, device_id: Some(&session.device_id) };
    json(&moments::closest(&call.engine, asking, &room_id, ts, dir).await?)
}
