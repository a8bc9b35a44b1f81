//! PUT /_matrix/client/v3/sendToDevice/{eventType}/{txnId}

use serde::Deserialize;
use serde_json::{Map, Value};
use starling_engine::encryption::{
    inbox::Messages,
    send::{self, Sending},
};

use crate::{
    answer::{Answer, json},
    call::Call,
};

#[derive(Deserialize)]
struct Body {
    messages: Messages,
}

pub(crate) async fn put(mut call: Call) -> Answer {
    let session = call.authenticated_or_guest().await?;
    let Body { messages } = call.body_as().await?;
    let (kind, txn_id) = (call.path_arg(0).to_owned(), call.path_arg(1).to_owned());
    let sending = Sending { kind, txn_id, messages };
    send::send(&call.engine, &session.user_id, &session.device_id, sending).await?;
    json(&Map::<String, Value>::new())
}
