//! POST /_matrix/client/v3/keys/claim

use std::collections::BTreeMap;

use ruma::OwnedUserId;
use serde::Deserialize;
use starling_engine::encryption::claim;

use crate::{
    answer::{Answer, json, once},
    call::Call,
};

#[derive(Deserialize)]
struct Body {
    timeout: Option<u64>,
    one_time_keys: BTreeMap<OwnedUserId, BTreeMap<String, String>>,
}

pub(crate) async fn post(mut call: Call) -> Answer {
    call.authenticated_or_guest().await?;
    let body: Body = call.body_as().await?;
    once(json(&claim::claim(&call.engine, body.one_time_keys, body.timeout).await?))
}
