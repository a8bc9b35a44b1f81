//! PUT /_matrix/federation/v1/send_knock/{roomId}/{eventId}

use axum::extract::State;
use ruma::api::federation::membership::create_knock_event::v1::Request;
use serde::Serialize;
use serde_json::value::RawValue;
use starling_engine::rooms::serve::submit::{self, Submission};

use crate::{
    door::{Door, Json, Signed, require_membership, texts},
    error::Error,
};

#[derive(Serialize)]
pub(crate) struct Response {
    knock_room_state: Vec<Box<RawValue>>,
}

pub(crate) async fn put(
    State(door): State<Door>,
    Signed { origin, request, .. }: Signed<Request>,
) -> Result<Json<Response>, Error> {
    let Request { room_id, event_id, pdu, .. } = &request;
    require_membership(pdu)?;
    let state = submit::knock(&door.engine, &origin, Submission { room_id, event_id, pdu }).await?;
    Ok(Json(Response { knock_room_state: texts(&state) }))
}
