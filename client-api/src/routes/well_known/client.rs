//! GET /.well-known/matrix/client

use serde_json::{Map, Value, json};

use crate::{
    answer::{self, Answer},
    call::Call,
    error::Error,
};

pub(crate) async fn get(call: Call) -> Answer {
    let Some(url) = &call.engine.config.public_url else {
        return Err(Error::not_found("This server does not announce its address"));
    };
    let mut keys: Map<String, Value> = call.door.settings.well_known.clone();
    keys.insert("m.homeserver".to_owned(), json!({ "base_url": url }));
    answer::json(&keys)
}
