//! GET /_matrix/client/unstable/io.element.msc4306/rooms/{roomId}/thread/{eventId}/subscription
//! PUT /_matrix/client/unstable/io.element.msc4306/rooms/{roomId}/thread/{eventId}/subscription
//! DELETE /_matrix/client/unstable/io.element.msc4306/rooms/{roomId}/thread/{eventId}/subscription

use ruma::{OwnedEventId, OwnedRoomId};
use serde::Deserialize;
use serde_json::json;
use starling_engine::reading::{
    access::Asking,
    subscriptions::{self, Thread},
};

use crate::{
    answer::{Answer, json as answer_json},
    call::Call,
    error::Error,
    limits::Doing,
};

#[derive(Deserialize)]
struct Body {
    automatic: Option<OwnedEventId>,
}

pub(crate) async fn get(call: Call) -> Answer {
    let session = call.authenticated().await?;
    let (room_id, root): (OwnedRoomId, OwnedEventId) = (call.path_id(0)?, call.path_id(1)?);
    let asking = Asking { user_id: &session.user_id, device_id: Some(&session.device_id) };
    let thread = Thread { room_id: &room_id, root: &root };
    match subscriptions::get(&call.engine, asking, thread).await? {
        Some(automatic) => answer_json(&json!({ "automatic": automatic })),
        None => Err(Error::not_found("You do not follow this thread")),
    }
}

pub(crate) async fn put(mut call: Call) -> Answer {
    let session = call.authenticated().await?;
    call.door.limits.user(Doing::Account, &session.user_id)?;
    let (room_id, root): (OwnedRoomId, OwnedEventId) = (call.path_id(0)?, call.path_id(1)?);
    let body: Body = call.body_as().await?;
    let asking = Asking { user_id: &session.user_id, device_id: Some(&session.device_id) };
    let thread = Thread { room_id: &room_id, root: &root };
    subscriptions::subscribe(&call.engine, asking, thread, body.automatic.as_deref()).await?;
    answer_json(&json!({}))
}

pub(crate) async fn delete(call: Call) -> Answer {
    let session = call.authenticated().await?;
    call.door.limits.user(Doing::Account, &session.user_id)?;
    let (room_id, root): (OwnedRoomId, OwnedEventId) = (call.path_id(0)?, call.path_id(1)?);
    let thread = Thread { room_id: &room_id, root: &root };
    subscriptions::unsubscribe(&call.engine, &session.user_id, thread).await?;
    answer_json(&json!({}))
}
