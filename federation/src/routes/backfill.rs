//! GET /_matrix/federation/v1/backfill/{roomId}

use axum::extract::State;
use ruma::api::federation::backfill::get_backfill::v1::{Request, Response};
use starling_engine::rooms::serve::history;

use crate::door::{Answer, Door, Outcome, Signed, texts};

pub(crate) async fn get(
    State(door): State<Door>,
    Signed { origin, request, .. }: Signed<Request>,
) -> Outcome<Response> {
    let engine = &door.engine;
    let limit = usize::try_from(request.limit).unwrap_or(usize::MAX);
    let events = history::backfill(engine, &origin, &request.room_id, &request.v, limit).await?;
    let server_name = engine.config.server_name.clone();
    Ok(Answer(Response::new(server_name, engine.clock.now(), texts(&events))))
}
