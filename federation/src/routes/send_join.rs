//! PUT /_matrix/federation/v2/send_join/{roomId}/{eventId}

use axum::extract::State;
use ruma::api::federation::membership::create_join_event::v2::{Request, Response, RoomState};
use starling_engine::rooms::serve::submit::{self, Submission};

use crate::door::{Answer, Door, Outcome, Signed, texts};

pub(crate) async fn put(
    State(door): State<Door>,
    Signed { origin, request, .. }: Signed<Request>,
) -> Outcome<Response> {
    let Request { room_id, event_id, pdu, .. } = &request;
    let submission = Submission { room_id, event_id, pdu };
    let joined = submit::join(&door.engine, &origin, submission).await?;
    let mut state = RoomState::new();
    state.auth_chain = texts(&joined.state.auth_chain);
    state.state = texts(&joined.state.state);
    state.event = Some(joined.event.json.clone());
    Ok(Answer(Response::new(state)))
}
