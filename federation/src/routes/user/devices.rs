//! GET /_matrix/federation/v1/user/devices/{userId}

use axum::extract::State;
use ruma::api::federation::device::get_devices::v1::Request;
use starling_engine::encryption::serve::{self, Devices};

use crate::{
    door::{Door, Json, Signed},
    error::{Error, Kind},
};

pub(crate) async fn get(
    State(door): State<Door>,
    Signed { origin, request, .. }: Signed<Request>,
) -> Result<Json<Devices>, Error> {
    let found = serve::devices(&door.engine, &origin, &request.user_id).await;
    match found.map_err(Error::internal)? {
        Some(devices) => Ok(Json(devices)),
        None => Err(Error::new(Kind::NotFound, "There is no such user on this server")),
    }
}
