//! GET /_matrix/client/v3/joined_rooms

use serde_json::json;
use starling_engine::rooms::membership;

use crate::{
    answer::{Answer, json as answer_json},
    call::Call,
};

pub(crate) async fn get(call: Call) -> Answer {
    let session = call.authenticated().await?;
    let joined_rooms = membership::joined_rooms(&call.engine, &session.user_id).await?;
    answer_json(&json!({ "joined_rooms": joined_rooms }))
}
