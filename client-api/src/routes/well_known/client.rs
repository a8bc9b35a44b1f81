//! GET /.well-known/matrix/client

use serde_json::{Map, Value, json};

use crate::{
    answer::{self, Answer},
    call::Call,
    error::Error,
};

/// Where clients look for what carries calls of many, when they do not ask the server (MSC4143).
const RTC: &str = "org.matrix.msc4143.rtc_foci";

pub(crate) async fn get(call: Call) -> Answer {
    let Some(url) = &call.engine.config.public_url else {
        return Err(Error::not_found("This server does not announce its address"));
    };
    let settings = &call.door.settings;
    let mut keys: Map<String, Value> = settings.well_known.clone();
    if !settings.rtc_transports.is_empty() && !keys.contains_key(RTC) {
        keys.insert(RTC.to_owned(), settings.rtc_transports.clone().into());
    }
    keys.insert("m.homeserver".to_owned(), json!({ "base_url": url }));
    answer::json(&keys)
}
