//! PUT /_matrix/client/v3/rooms/{roomId}/send/{eventType}/{txnId}

use ruma::events::TimelineEventType;
use serde_json::json;
use starling_engine::rooms::send::{self, Message, Transaction};

use crate::{
    answer::{Answer, json as answer_json},
    call::Call,
    limits::Doing,
};

pub(crate) async fn put(mut call: Call) -> Answer {
    let session = call.authenticated().await?;
    call.door.limits.user(Doing::Sending, &session.user_id)?;
    let kind = TimelineEventType::from(call.path_arg(1));
    let message = Message {
        room_id: call.path_id(0)?,
        sender: session.user_id,
        kind,
        content: call.content().await?,
        ts: None,
        transaction: Some(Transaction {
            device_id: session.device_id,
            path: format!("send/{}/{}", call.path_arg(0), call.path_arg(1)),
            txn_id: call.path_arg(2).to_owned(),
        }),
    };
    let event_id = send::message(&call.engine, message).await?;
    answer_json(&json!({ "event_id": event_id }))
}
