//! POST /_matrix/client/v3/rooms/{roomId}/receipt/{receiptType}/{eventId}

use ruma::OwnedRoomId;
use serde::Deserialize;
use serde_json::{Value, json};
use starling_engine::rooms::receipts::{self, Kind, Receipt};

use crate::{
    answer::{Answer, json as answer_json},
    call::Call,
    error::Error,
    limits::Doing,
};

#[derive(Deserialize)]
struct Body {
    thread_id: Option<Value>,
}

pub(crate) async fn post(mut call: Call) -> Answer {
    let session = call.authenticated().await?;
    call.limit(Doing::Asking, &session)?;
    let room_id: OwnedRoomId = call.path_id(0)?;
    let kind = match call.path_arg(1) {
        "m.read" => Kind::Read,
        "m.read.private" => Kind::Private,
        "m.fully_read" => Kind::FullyRead,
        _ => return Err(Error::invalid_param("There is no such kind of receipt")),
    };
    let event_id = call.path_id(2)?;
    let body: Body = call.body_as().await?;
    let thread_id = match body.thread_id {
        None => None,
        Some(Value::String(thread_id)) => Some(thread_id),
        Some(_) => return Err(Error::invalid_param("thread_id is not a string")),
    };
    let receipt = Receipt { kind, event_id, thread_id };
    receipts::send(&call.engine, &room_id, &session.user_id, &[receipt]).await?;
    answer_json(&json!({}))
}
