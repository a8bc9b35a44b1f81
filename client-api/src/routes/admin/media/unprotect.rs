//! POST /_synapse/admin/v1/media/unprotect/{mediaId}

use serde_json::json;
use starling_engine::admin::media;

use super::known_here;
use crate::{
    answer::{Answer, json as answer_json},
    call::Call,
};

pub(crate) async fn post(call: Call) -> Answer {
    call.administrator().await?;
    let id = known_here(&call).await?;
    media::protect(&call.engine, &id, false).await?;
    answer_json(&json!({}))
}
