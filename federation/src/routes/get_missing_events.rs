//! POST /_matrix/federation/v1/get_missing_events/{roomId}

use axum::extract::State;
use ruma::api::federation::event::get_missing_events::v1::{Request, Response};
use starling_engine::rooms::serve::history::{self, Missing};

use crate::door::{Answer, Door, Outcome, Signed, texts};

pub(crate) async fn post(
    State(door): State<Door>,
    Signed { origin, request, .. }: Signed<Request>,
) -> Outcome<Response> {
    let query = Missing {
        earliest: &request.earliest_events,
        latest: &request.latest_events,
        limit: usize::try_from(request.limit).unwrap_or(usize::MAX),
        min_depth: request.min_depth.into(),
    };
    let events = history::missing_events(&door.engine, &origin, &request.room_id, &query).await?;
    Ok(Answer(Response::new(texts(&events))))
}
