//! PUT /_matrix/client/unstable/org.matrix.msc4140/rooms/{roomId}/delayed_event/{eventType}/{txnId}

use ruma::OwnedUserId;
use serde::Deserialize;
use serde_json::{json, value::RawValue};
use starling_engine::{
    accounts::Session,
    rooms::{
        delayed::{self, Later},
        send::Transaction,
    },
};

use crate::{
    answer::{Answer, json as answer_json},
    call::Call,
    error::Error,
    limits::Doing,
};

pub(crate) async fn put(mut call: Call) -> Answer {
    #[derive(Deserialize)]
    struct Body {
        #[serde(alias = "delay")]
        delay_ms: i64,
        state_key: Option<String>,
        content: Box<RawValue>,
    }
    let session = call.authenticated_or_guest_to_act().await?;
    call.door.limits.user(Doing::Sending, &session.user_id)?;
    let transaction = transaction(&call, &session, "delayed_event", 2);
    if let Some(delay_id) = delayed::named(&call.engine, &session.user_id, &transaction).await? {
        return answer_json(&json!({ "delay_id": delay_id }));
    }
    let Body { delay_ms, state_key, content } = call.body_as().await?;
    if !content.get().starts_with('{') {
        return Err(Error::bad_json("The content is not an object"));
    }
    let transaction = Some(transaction);
    schedule(&call, session.user_id, delay_ms, state_key, content, transaction).await
}

/// The delay that a request to send an event asks for.
pub(crate) fn wanted(call: &Call) -> Result<Option<i64>, Error> {
    #[derive(Deserialize)]
    struct Query {
        #[serde(rename = "org.matrix.msc4140.delay")]
        delay: Option<i64>,
    }
    Ok(call.query_as::<Query>()?.delay)
}

/// Has a message wait that was to be sent under a transaction.
pub(crate) async fn message(mut call: Call, session: Session, delay_ms: i64) -> Answer {
    let transaction = transaction(&call, &session, "delayed", 2);
    // Whoever asks again need not say again what it was.
    if let Some(delay_id) = delayed::named(&call.engine, &session.user_id, &transaction).await? {
        return answer_json(&json!({ "delay_id": delay_id }));
    }
    let content = call.content().await?;
    schedule(&call, session.user_id, delay_ms, None, content, Some(transaction)).await
}

/// Has a state event wait.
pub(crate) async fn state(mut call: Call, session: Session, delay_ms: i64) -> Answer {
    let (state_key, content) = (call.path_arg(2).to_owned(), call.content().await?);
    schedule(&call, session.user_id, delay_ms, Some(state_key), content, None).await
}

fn transaction(call: &Call, session: &Session, what: &str, txn_id: usize) -> Transaction {
    Transaction {
        device_id: session.device_id.clone(),
        path: format!("{what}/{}/{}", call.path_arg(0), call.path_arg(1)),
        txn_id: call.path_arg(txn_id).to_owned(),
    }
}

async fn schedule(
    call: &Call,
    sender: OwnedUserId,
    delay_ms: i64,
    state_key: Option<String>,
    content: Box<RawValue>,
    transaction: Option<Transaction>,
) -> Answer {
    let (room_id, kind) = (call.path_id(0)?, call.path_arg(1).into());
    let later = Later { room_id, sender, kind, state_key, content, delay_ms, transaction };
    let delay_id = delayed::schedule(&call.engine, later).await?;
    answer_json(&json!({ "delay_id": delay_id }))
}
