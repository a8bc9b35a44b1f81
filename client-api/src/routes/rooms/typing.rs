//! PUT /_matrix/client/v3/rooms/{roomId}/typing/{userId}

use std::time::Duration;

use ruma::OwnedRoomId;
use serde::Deserialize;
use serde_json::json;
use starling_engine::rooms::typing;

use crate::{
    answer::{Answer, json as answer_json},
    call::Call,
    error::Error,
    limits::Doing,
    shadow,
};

/// How long somebody types when the client does not say.
const DEFAULT_TIMEOUT_MS: u64 = 30_000;

#[derive(Deserialize)]
struct Body {
    typing: bool,
    timeout: Option<u64>,
}

pub(crate) async fn put(mut call: Call) -> Answer {
    let session = call.authenticated().await?;
    call.limit(Doing::Asking, &session)?;
    let room_id: OwnedRoomId = call.path_id(0)?;
    if call.path_arg(1) != session.user_id.as_str() {
        return Err(Error::forbidden("Nobody types for somebody else"));
    }
    let body: Body = call.body_as().await?;
    if session.is_shadow_banned() {
        return shadow::done();
    }
    let timeout = Duration::from_millis(body.timeout.unwrap_or(DEFAULT_TIMEOUT_MS));
    let time = body.typing.then_some(timeout);
    typing::set(&call.engine, &room_id, &session.user_id, time).await?;
    answer_json(&json!({}))
}
