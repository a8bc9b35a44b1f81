//! GET /_matrix/federation/v1/state/{roomId}

use axum::extract::State;
use ruma::api::federation::event::get_room_state::v1::{Request, Response};
use starling_engine::rooms::serve::state;

use crate::door::{Answer, Door, Outcome, Signed, texts};

pub(crate) async fn get(
    State(door): State<Door>,
    Signed { origin, request, .. }: Signed<Request>,
) -> Outcome<Response> {
    let at = state::state(&door.engine, &origin, &request.room_id, &request.event_id).await?;
    Ok(Answer(Response::new(texts(&at.auth_chain), texts(&at.state))))
}
