//! POST /_matrix/client/v3/rooms/{roomId}/report
//! POST /_matrix/client/v3/rooms/{roomId}/report/{eventId}

use ruma::{OwnedEventId, OwnedRoomId};
use serde::Deserialize;
use serde_json::json;
use starling_engine::accounts::reports;

use crate::{
    answer::{Answer, json as answer_json},
    call::Call,
    limits::Doing,
};

/// A report that says why, if only by an empty text.
#[derive(Deserialize)]
pub(crate) struct Reasoned {
    pub(crate) reason: String,
}

#[derive(Deserialize)]
struct Body {
    reason: Option<String>,
}

pub(crate) async fn post(mut call: Call) -> Answer {
    let session = call.authenticated().await?;
    call.limit(Doing::Account, &session)?;
    let room_id: OwnedRoomId = call.path_id(0)?;
    let Reasoned { reason } = call.body_as().await?;
    reports::room(&call.engine, &session.user_id, &room_id, &reason).await?;
    answer_json(&json!({}))
}

pub(crate) async fn post_event(mut call: Call) -> Answer {
    let session = call.authenticated().await?;
    call.limit(Doing::Account, &session)?;
    let room_id: OwnedRoomId = call.path_id(0)?;
    let event_id: OwnedEventId = call.path_id(1)?;
    let Body { reason } = call.body_as().await?;
    let reason = reason.unwrap_or_default();
    reports::event(&call.engine, &session.user_id, (&room_id, &event_id), &reason).await?;
    answer_json(&json!({}))
}
