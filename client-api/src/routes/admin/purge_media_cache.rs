//! POST /_synapse/admin/v1/purge_media_cache

use serde::Deserialize;
use serde_json::json;
use starling_engine::admin::media;

use super::media::delete::SECONDS;
use crate::{
    answer::{Answer, json as answer_json},
    call::Call,
    error::Error,
};

#[derive(Deserialize)]
struct Query {
    before_ts: i64,
}

pub(crate) async fn post(call: Call) -> Answer {
    call.administrator().await?;
    let Query { before_ts } = call.query_as()?;
    if before_ts < SECONDS {
        return Err(Error::invalid_param("`before_ts` must be milliseconds since 1970"));
    }
    let deleted = media::purge_cache(&call.engine, before_ts).await?;
    answer_json(&json!({ "deleted": deleted }))
}
