//! GET /_matrix/client/v3/voip/turnServer

use serde_json::json;

use crate::{
    answer::{self, Answer},
    call::Call,
};

/// There is no TURN server; clients take an empty object to say so.
pub(crate) async fn get(call: Call) -> Answer {
    call.authenticated().await?;
    answer::json(&json!({}))
}
