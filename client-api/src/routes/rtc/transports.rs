//! GET /_matrix/client/unstable/org.matrix.msc4143/rtc/transports

use serde_json::json;

use crate::{
    answer::{self, Answer},
    call::Call,
};

pub(crate) async fn get(call: Call) -> Answer {
    call.authenticated_or_guest().await?;
    answer::json(&json!({ "rtc_transports": call.door.settings.rtc_transports }))
}
