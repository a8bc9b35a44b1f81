//! POST /_matrix/client/v3/keys/upload

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};
use serde_json::{json, value::RawValue};
use starling_engine::encryption::upload::{self, Upload};

use crate::{
    answer::{self, Answer},
    call::Call,
    error::Error,
};

#[derive(Deserialize)]
struct Body {
    #[serde(default, deserialize_with = "present")]
    device_keys: Option<Box<RawValue>>,
    #[serde(default)]
    one_time_keys: BTreeMap<String, Box<RawValue>>,
    #[serde(default, alias = "org.matrix.msc2732.fallback_keys")]
    fallback_keys: BTreeMap<String, Box<RawValue>>,
}

/// What is there has to be keys: null is none.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Box<RawValue>>, D::Error> {
    Box::deserialize(deserializer).map(Some)
}

pub(crate) async fn post(mut call: Call) -> Answer {
    let session = call.authenticated_or_guest().await?;
    let Body { device_keys, one_time_keys, fallback_keys } = call.body_as().await?;
    let upload = Upload { device_keys, one_time_keys, fallback_keys };
    let Some(device) = session.device() else {
        return Err(Error::missing_param("An application service uploads keys with a `device_id`"));
    };
    let user = &session.user_id;
    let counts = upload::upload(&call.engine, user, device, upload).await?;
    answer::json(&json!({ "one_time_key_counts": counts }))
}
