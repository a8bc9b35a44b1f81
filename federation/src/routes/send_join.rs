//! PUT /_matrix/federation/v1/send_join/{roomId}/{eventId}
//! PUT /_matrix/federation/v2/send_join/{roomId}/{eventId}

use axum::extract::State;
use ruma::api::federation::membership::create_join_event::v2::{Request, Response, RoomState};
use serde::Serialize;
use serde_json::value::RawValue;
use starling_engine::rooms::serve::submit::{self, Submission};

use crate::{
    door::{
        Answer, Door, Json, Outcome, Signed, SignedBody, require_membership, room_and_event, texts,
    },
    error::Error,
};

/// The older answer.
#[derive(Serialize)]
pub(crate) struct StateV1 {
    auth_chain: Vec<Box<RawValue>>,
    state: Vec<Box<RawValue>>,
}

/// The older form, which old servers fall back to.
pub(crate) async fn put_v1(
    State(door): State<Door>,
    SignedBody { origin, path, body: pdu, .. }: SignedBody<Box<RawValue>>,
) -> Result<Json<(u16, StateV1)>, Error> {
    let (room_id, event_id) = room_and_event(&path)?;
    require_membership(&pdu)?;
    let submission = Submission { room_id, event_id, pdu: &pdu };
    let joined = submit::join(&door.engine, &origin, submission, false).await?;
    let auth_chain = texts(&joined.auth_chain);
    let state = texts(&joined.state);
    Ok(Json((200, StateV1 { auth_chain, state })))
}

pub(crate) async fn put_v2(
    State(door): State<Door>,
    Signed { origin, request, .. }: Signed<Request>,
) -> Outcome<Response> {
    let Request { room_id, event_id, pdu, omit_members, .. } = &request;
    require_membership(pdu)?;
    let submission = Submission { room_id, event_id, pdu };
    let joined = submit::join(&door.engine, &origin, submission, *omit_members).await?;
    let mut state = RoomState::new();
    state.auth_chain = texts(&joined.auth_chain);
    state.state = texts(&joined.state);
    state.members_omitted = joined.servers.is_some();
    state.servers_in_room = joined.servers;
    state.event = Some(joined.event.json.clone());
    Ok(Answer(Response::new(state)))
}
