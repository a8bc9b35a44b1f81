//! GET /_matrix/federation/v1/timestamp_to_event/{roomId}

use axum::extract::State;
use ruma::api::federation::event::get_event_by_timestamp::v1::Request;
use starling_engine::{reading::moments::Moment, rooms::serve::moments};

use crate::{
    door::{Door, Json, Signed},
    error::Error,
};

pub(crate) async fn get(
    State(door): State<Door>,
    Signed { origin, request, .. }: Signed<Request>,
) -> Result<Json<Moment>, Error> {
    let Request { room_id, ts, dir, .. } = request;
    let ts = i64::from(ts.get());
    Ok(Json(moments::closest(&door.engine, &origin, &room_id, ts, dir).await?))
}
