//! GET /.well-known/matrix/policy_server

use serde_json::json;

use crate::{
    answer::{self, Answer},
    call::Call,
    error::Error,
};

pub(crate) async fn get(call: Call) -> Answer {
    let keys = &call.door.settings.policy_server_keys;
    if keys.is_empty() {
        return Err(Error::not_found("There is no policy server of this name"));
    }
    answer::json(&json!({ "public_keys": keys }))
}
