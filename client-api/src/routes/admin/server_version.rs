//! GET /_synapse/admin/v1/server_version

use serde_json::json;

use crate::{
    answer::{Answer, json as answer_json},
    call::Call,
};

/// Tools ask before they log in, so anybody may.
pub(crate) async fn get(_: Call) -> Answer {
    answer_json(&json!({ "server_version": concat!("Starling ", env!("CARGO_PKG_VERSION")) }))
}
