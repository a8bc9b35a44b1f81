//! PUT /_matrix/client/v3/rooms/{roomId}/redact/{eventId}/{txnId}

use serde_json::json;
use starling_engine::rooms::send::{self, Redaction, Transaction};

use crate::{
    answer::{Answer, json as answer_json},
    call::Call,
    limits::Doing,
};

pub(crate) async fn put(mut call: Call) -> Answer {
    let session = call.authenticated().await?;
    call.door.limits.user(Doing::Sending, &session.user_id)?;
    let redaction = Redaction {
        room_id: call.path_id(0)?,
        sender: session.user_id,
        target: call.path_id(1)?,
        content: call.content().await?,
        ts: None,
        transaction: Some(Transaction {
            device_id: session.device_id,
            path: format!("redact/{}/{}", call.path_arg(0), call.path_arg(1)),
            txn_id: call.path_arg(2).to_owned(),
        }),
    };
    let event_id = send::redact(&call.engine, redaction).await?;
    answer_json(&json!({ "event_id": event_id }))
}
