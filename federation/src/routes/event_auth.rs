//! GET /_matrix/federation/v1/event_auth/{roomId}/{eventId}

use axum::extract::State;
use ruma::api::federation::authorization::get_event_authorization::v1::{Request, Response};
use starling_engine::rooms::serve::state;

use crate::door::{Answer, Door, Outcome, Signed, texts};

pub(crate) async fn get(
    State(door): State<Door>,
    Signed { origin, request, .. }: Signed<Request>,
) -> Outcome<Response> {
    let Request { room_id, event_id, .. } = request;
    let chain = state::event_auth(&door.engine, &origin, &room_id, &event_id).await?;
    Ok(Answer(Response::new(texts(&chain))))
}
