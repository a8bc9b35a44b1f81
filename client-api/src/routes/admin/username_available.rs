//! GET /_synapse/admin/v1/username_available

use serde::Deserialize;
use serde_json::json;
use starling_engine::accounts::names;

use crate::{
    answer::{Answer, json as answer_json},
    call::Call,
};

#[derive(Deserialize)]
struct Query {
    username: String,
}

pub(crate) async fn get(call: Call) -> Answer {
    call.administrator().await?;
    let Query { username } = call.query_as()?;
    names::available(&call.engine, &username).await?;
    answer_json(&json!({ "available": true }))
}
