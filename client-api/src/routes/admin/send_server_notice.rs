//! POST /_synapse/admin/v1/send_server_notice
//! PUT /_synapse/admin/v1/send_server_notice/{txnId}

use ruma::{OwnedDeviceId, OwnedUserId};
use serde::Deserialize;
use serde_json::{json, value::RawValue};
use starling_engine::admin::notices::{self, Notice};

use crate::{
    answer::{Answer, json as answer_json},
    call::Call,
};

#[derive(Deserialize)]
struct Body {
    user_id: OwnedUserId,
    content: Box<RawValue>,
    #[serde(rename = "type", default = "message")]
    kind: String,
    state_key: Option<String>,
}

fn message() -> String {
    "m.room.message".to_owned()
}

pub(crate) async fn post(call: Call) -> Answer {
    send(call, false).await
}

pub(crate) async fn put(call: Call) -> Answer {
    send(call, true).await
}

async fn send(mut call: Call, once: bool) -> Answer {
    let session = call.administrator().await?;
    let Body { user_id, content, kind, state_key } = call.body_as().await?;
    // Of each administrator's device the names are its own.
    let device = format!("{} {}", session.user_id, session.device_id);
    let transaction = once.then(|| (OwnedDeviceId::from(device), call.path_arg(0).to_owned()));
    let notice = Notice { user_id, kind, state_key, content, transaction };
    let event_id = notices::send(&call.engine, notice).await?;
    answer_json(&json!({ "event_id": event_id }))
}
