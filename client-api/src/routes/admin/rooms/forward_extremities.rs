//! GET /_synapse/admin/v1/rooms/{roomId}/forward_extremities

use serde_json::json;
use starling_engine::admin::rooms;

use crate::{
    answer::{Answer, json as answer_json},
    call::Call,
    error::Error,
    wish::Named,
};

pub(crate) async fn get(call: Call) -> Answer {
    call.administrator().await?;
    let Named { room_id, .. } = Named::of(&call).await?;
    let found = rooms::extremities(&call.engine, &room_id).await?;
    let found = found.ok_or_else(|| Error::not_found("There is no such room"))?;
    answer_json(&json!({ "count": found.len(), "results": found }))
}
