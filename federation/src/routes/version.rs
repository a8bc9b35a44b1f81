//! GET /_matrix/federation/v1/version

use serde_json::{Value, json};

use crate::door::Json;

pub(crate) async fn get() -> Json<Value> {
    Json(json!({ "server": { "name": "Starling", "version": env!("CARGO_PKG_VERSION") } }))
}
