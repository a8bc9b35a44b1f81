//! GET /_matrix/federation/v1/query/profile

use std::collections::BTreeMap;

use axum::extract::State;
use ruma::api::federation::query::get_profile_information::v1::Request;
use serde_json::value::RawValue;
use starling_engine::rooms::serve::profile;

use crate::{
    door::{Door, Json, Signed},
    error::{Error, Kind},
};

pub(crate) async fn get(
    State(door): State<Door>,
    Signed { request, .. }: Signed<Request>,
) -> Result<Json<BTreeMap<String, Box<RawValue>>>, Error> {
    if !door.engine.config.profiles.to_servers {
        return Err(Error::new(Kind::Forbidden, "This server shows no profiles to other servers"));
    }
    let field = request.field.as_ref().map(|field| field.as_str());
    let found = profile::profile(&door.engine, &request.user_id, field).await;
    match found.map_err(Error::internal)? {
        Some(fields) => Ok(Json(fields)),
        None => Err(Error::new(Kind::NotFound, "There is no such user on this server")),
    }
}
