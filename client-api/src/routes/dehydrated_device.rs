//! DELETE /_matrix/client/unstable/org.matrix.msc3814.v1/dehydrated_device
//! GET /_matrix/client/unstable/org.matrix.msc3814.v1/dehydrated_device
//! PUT /_matrix/client/unstable/org.matrix.msc3814.v1/dehydrated_device

use std::collections::BTreeMap;

use ruma::OwnedDeviceId;
use serde::Deserialize;
use serde_json::{json, value::RawValue};
use starling_engine::encryption::dehydrated::{self, NewDevice};

use crate::{
    answer::{self, Answer},
    call::Call,
    error::Error,
};

pub(crate) mod events;

#[derive(Deserialize)]
struct Body {
    device_id: OwnedDeviceId,
    device_data: Box<RawValue>,
    initial_device_display_name: Option<String>,
    device_keys: Box<RawValue>,
    #[serde(default)]
    one_time_keys: BTreeMap<String, Box<RawValue>>,
    #[serde(default)]
    fallback_keys: BTreeMap<String, Box<RawValue>>,
}

pub(crate) async fn put(mut call: Call) -> Answer {
    let session = call.authenticated().await?;
    let body: Body = call.body_as().await?;
    let device_id = body.device_id.clone();
    let new = NewDevice {
        device_id: body.device_id,
        device_data: body.device_data,
        display_name: body.initial_device_display_name,
        device_keys: body.device_keys,
        one_time_keys: body.one_time_keys,
        fallback_keys: body.fallback_keys,
    };
    dehydrated::put(&call.engine, &session.user_id, new).await?;
    answer::json(&json!({ "device_id": device_id }))
}

pub(crate) async fn get(call: Call) -> Answer {
    let session = call.authenticated().await?;
    let kept = dehydrated::get(&call.engine, &session.user_id).await?;
    answer::json(&kept.ok_or_else(none)?)
}

pub(crate) async fn delete(call: Call) -> Answer {
    let session = call.authenticated().await?;
    let removed = dehydrated::remove(&call.engine, &session.user_id).await?;
    answer::json(&json!({ "device_id": removed.ok_or_else(none)? }))
}

fn none() -> Error {
    Error::not_found("No device is kept here")
}
