//! POST /_matrix/client/v3/keys/query

use std::collections::BTreeMap;

use ruma::OwnedUserId;
use serde::Deserialize;
use starling_engine::encryption::query;

use crate::{
    answer::{Answer, json},
    call::Call,
};

#[derive(Deserialize)]
struct Body {
    timeout: Option<u64>,
    device_keys: BTreeMap<OwnedUserId, Vec<String>>,
}

pub(crate) async fn post(mut call: Call) -> Answer {
    let session = call.authenticated_or_guest().await?;
    let body: Body = call.body_as().await?;
    json(&query::query(&call.engine, &session.user_id, body.device_keys, body.timeout).await?)
}
