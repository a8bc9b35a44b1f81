//! GET /_matrix/client/v3/events
//! GET /_matrix/client/v3/events/{eventId}

use std::time::Duration;

use ruma::{OwnedEventId, OwnedRoomId};
use serde::Deserialize;
use starling_engine::{
    reading::{
        access::Asking,
        context, peek,
        token::{PageToken, SyncToken},
    },
    sync::old,
};

use crate::{
    answer::{Answer, json, raw_json},
    call::Call,
    error::Error,
};

/// How many milliseconds one waits who does not say.
const USUAL_WAIT: u64 = 10_000;

#[derive(Deserialize)]
struct Query {
    from: Option<String>,
    timeout: Option<u64>,
    room_id: Option<OwnedRoomId>,
}

/// With `room_id` the events of one room, also for who only looks in; without, those of all rooms that
/// the user is in.
pub(crate) async fn get(call: Call) -> Answer {
    let session = call.authenticated_or_guest().await?;
    let Query { from, timeout, room_id } = call.query_as()?;
    let timeout = Duration::from_millis(timeout.unwrap_or(USUAL_WAIT));
    let asking = Asking { user_id: &session.user_id, device_id: Some(&session.device_id) };
    let Some(room_id) = room_id else {
        call.authenticated().await?;
        let from = from.as_deref().map(SyncToken::parse).transpose()?;
        return json(&old::events(&call.engine, asking, from, timeout).await?);
    };
    let from = from.as_deref().map(PageToken::parse).transpose()?;
    let from = from.map(|from| old::position(from).ok_or_else(bad_token)).transpose()?;
    json(&peek::follow(&call.engine, asking, &room_id, from, timeout).await?)
}

fn bad_token() -> Error {
    Error::invalid_param("`from` is not a token of this endpoint")
}

pub(crate) async fn get_one(call: Call) -> Answer {
    let session = call.authenticated().await?;
    let event_id: OwnedEventId = call.path_id(0)?;
    let asking = Asking { user_id: &session.user_id, device_id: Some(&session.device_id) };
    let event = context::anywhere(&call.engine, asking, &event_id).await?;
    raw_json(event.get().to_owned())
}
