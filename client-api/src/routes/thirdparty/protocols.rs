//! GET /_matrix/client/v3/thirdparty/protocols

use serde_json::json;

use crate::{
    answer::{self, Answer},
    call::Call,
};

/// No application service, so no bridged network.
pub(crate) async fn get(call: Call) -> Answer {
    call.authenticated().await?;
    answer::json(&json!({}))
}
