//! GET /_synapse/admin/v1/statistics/database/rooms

use serde_json::{Value, json};
use starling_engine::admin::rooms;

use crate::{
    answer::{Answer, json as answer_json},
    call::Call,
};

/// How many rooms are shown.
const LARGEST: i64 = 10;

pub(crate) async fn get_rooms(call: Call) -> Answer {
    call.administrator().await?;
    let sizes = rooms::sizes(&call.engine, LARGEST).await?;
    let rooms: Vec<Value> = sizes
        .iter()
        .map(|size| json!({ "room_id": size.room_id, "estimated_size": size.bytes }))
        .collect();
    answer_json(&json!({ "rooms": rooms }))
}
