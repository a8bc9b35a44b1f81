//! POST /_matrix/client/v3/keys/signatures/upload

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use starling_engine::encryption::signatures::{self, Signed};

use crate::{
    answer::{self, Answer},
    call::Call,
    error::encryption::failure,
};

pub(crate) async fn post(mut call: Call) -> Answer {
    let session = call.authenticated_or_guest().await?;
    let signed: Signed = call.body_as().await?;
    let (user, device) = (&session.user_id, &session.device_id);
    let failures = signatures::upload(&call.engine, user, device, signed).await?;
    let failures: BTreeMap<String, BTreeMap<String, Map<String, Value>>> = failures
        .into_iter()
        .map(|(user, keys)| {
            let keys = keys.into_iter().map(|(key, what)| (key, failure(&what)));
            (user, keys.collect())
        })
        .collect();
    answer::json(&json!({ "failures": failures }))
}
