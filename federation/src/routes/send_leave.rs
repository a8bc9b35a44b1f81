//! PUT /_matrix/federation/v1/send_leave/{roomId}/{eventId}
//! PUT /_matrix/federation/v2/send_leave/{roomId}/{eventId}

use axum::extract::State;
use ruma::api::federation::membership::create_leave_event::v2::{Request, Response};
use serde::Serialize;
use serde_json::value::RawValue;
use starling_engine::rooms::serve::submit::{self, Submission};

use crate::{
    door::{Answer, Door, Json, Outcome, Signed, SignedBody, require_membership, room_and_event},
    error::Error,
};

/// An empty object.
#[derive(Serialize)]
pub(crate) struct Nothing {}

/// The older form, which old servers fall back to.
pub(crate) async fn put_v1(
    State(door): State<Door>,
    SignedBody { origin, path, body: pdu, .. }: SignedBody<Box<RawValue>>,
) -> Result<Json<(u16, Nothing)>, Error> {
    let (room_id, event_id) = room_and_event(&path)?;
    require_membership(&pdu)?;
    let submission = Submission { room_id, event_id, pdu: &pdu };
    submit::leave(&door.engine, &origin, submission).await?;
    Ok(Json((200, Nothing {})))
}

pub(crate) async fn put_v2(
    State(door): State<Door>,
    Signed { origin, request, .. }: Signed<Request>,
) -> Outcome<Response> {
    let Request { room_id, event_id, pdu, .. } = &request;
    require_membership(pdu)?;
    submit::leave(&door.engine, &origin, Submission { room_id, event_id, pdu }).await?;
    Ok(Answer(Response::new()))
}
