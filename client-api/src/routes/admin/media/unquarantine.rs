//! POST /_synapse/admin/v1/media/unquarantine/{serverName}/{mediaId}

use serde_json::json;
use starling_engine::admin::media;

use super::known;
use crate::{
    answer::{Answer, json as answer_json},
    call::Call,
};

pub(crate) async fn post(call: Call) -> Answer {
    call.administrator().await?;
    let (_, file) = known(&call).await?;
    media::release(&call.engine, file).await?;
    answer_json(&json!({}))
}
