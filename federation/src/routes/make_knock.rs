//! GET /_matrix/federation/v1/make_knock/{roomId}/{userId}

use axum::extract::State;
use ruma::api::federation::membership::prepare_knock_event::v1::{Request, Response};
use starling_engine::rooms::serve::template::{self, Wish};

use crate::door::{Answer, Door, Outcome, Signed};

pub(crate) async fn get(
    State(door): State<Door>,
    Signed { origin, request, .. }: Signed<Request>,
) -> Outcome<Response> {
    let Request { room_id, user_id, ver, .. } = request;
    let template =
        template::template(&door.engine, &origin, &room_id, &user_id, Wish::Knock, Some(&ver))
            .await?;
    Ok(Answer(Response::new(template.room_version, template.event)))
}
