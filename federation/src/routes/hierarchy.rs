//! GET /_matrix/federation/v1/hierarchy/{roomId}

use axum::extract::State;
use ruma::api::federation::space::get_hierarchy::v1::Request;
use starling_engine::spaces::serve::{self, Hierarchy};

use crate::{
    door::{Door, Json, Signed},
    error::Error,
};

pub(crate) async fn get(
    State(door): State<Door>,
    Signed { origin, request, .. }: Signed<Request>,
) -> Result<Json<Hierarchy>, Error> {
    let Request { room_id, suggested_only, .. } = request;
    Ok(Json(serve::hierarchy(&door.engine, &origin, &room_id, suggested_only).await?))
}
