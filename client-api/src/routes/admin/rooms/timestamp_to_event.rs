//! GET /_synapse/admin/v1/rooms/{roomId}/timestamp_to_event

use ruma::{OwnedRoomId, api::Direction};
use serde::Deserialize;
use starling_engine::admin::rooms;

use super::known;
use crate::{
    answer::{Answer, json},
    call::Call,
};

#[derive(Deserialize)]
struct Query {
    ts: i64,
    #[serde(default = "forward")]
    dir: Direction,
}

fn forward() -> Direction {
    Direction::Forward
}

pub(crate) async fn get(call: Call) -> Answer {
    let session = call.administrator().await?;
    let room_id: OwnedRoomId = call.path_id(0)?;
    let Query { ts, dir } = call.query_as()?;
    known(&call, &room_id).await?;
    json(&rooms::closest(&call.engine, &session.user_id, &room_id, ts, dir).await?)
}
