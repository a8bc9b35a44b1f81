//! PUT /_matrix/federation/v2/send_leave/{roomId}/{eventId}

use axum::extract::State;
use ruma::api::federation::membership::create_leave_event::v2::{Request, Response};
use starling_engine::rooms::serve::submit::{self, Submission};

use crate::door::{Answer, Door, Outcome, Signed};

pub(crate) async fn put(
    State(door): State<Door>,
    Signed { origin, request, .. }: Signed<Request>,
) -> Outcome<Response> {
    let Request { room_id, event_id, pdu, .. } = &request;
    submit::leave(&door.engine, &origin, Submission { room_id, event_id, pdu }).await?;
    Ok(Answer(Response::new()))
}
