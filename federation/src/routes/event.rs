//! GET /_matrix/federation/v1/event/{eventId}

use axum::extract::State;
use ruma::api::federation::event::get_event::v1::{Request, Response};
use starling_engine::rooms::serve::state;

use crate::door::{Answer, Door, Outcome, Signed};

pub(crate) async fn get(
    State(door): State<Door>,
    Signed { origin, request, .. }: Signed<Request>,
) -> Outcome<Response> {
    let engine = &door.engine;
    let pdu = state::event(engine, &origin, &request.event_id).await?;
    let server_name = engine.config.server_name.clone();
    Ok(Answer(Response::new(server_name, engine.clock.now(), pdu.json.clone())))
}
