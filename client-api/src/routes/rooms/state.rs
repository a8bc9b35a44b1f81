//! PUT /_matrix/client/v3/rooms/{roomId}/state/{eventType}
//! PUT /_matrix/client/v3/rooms/{roomId}/state/{eventType}/
//! PUT /_matrix/client/v3/rooms/{roomId}/state/{eventType}/{stateKey}

use ruma::events::StateEventType;
use serde_json::json;
use starling_engine::rooms::{membership, send::SetState};

use crate::{
    answer::{Answer, json as answer_json},
    call::Call,
    limits::Doing,
};

/// The forms of the path without a state key mean the empty one.
pub(crate) async fn put(mut call: Call) -> Answer {
    let session = call.authenticated().await?;
    call.door.limits.user(Doing::Sending, &session.user_id)?;
    let state = SetState {
        room_id: call.path_id(0)?,
        sender: session.user_id,
        kind: StateEventType::from(call.path_arg(1)),
        state_key: call.path_arg(2).to_owned(),
        content: call.content().await?,
        ts: None,
    };
    let event_id = membership::set_state(&call.engine, state).await?;
    answer_json(&json!({ "event_id": event_id }))
}
