//! POST /_synapse/admin/v1/registration_tokens/new

use serde::Deserialize;
use starling_engine::admin::tokens::{self, NewToken};

use super::shown;
use crate::{
    answer::{Answer, json},
    call::Call,
};

#[derive(Deserialize)]
struct Body {
    token: Option<String>,
    length: Option<usize>,
    uses_allowed: Option<i64>,
    expiry_time: Option<i64>,
}

pub(crate) async fn post(mut call: Call) -> Answer {
    call.administrator().await?;
    let Body { token, length, uses_allowed, expiry_time } = call.body_as().await?;
    let new = NewToken { token, length, uses_allowed, expires_ts: expiry_time };
    json(&shown(&tokens::make(&call.engine, new).await?))
}
