//! GET /_matrix/key/v2/server

use axum::extract::State;
use ruma::CanonicalJsonObject;
use starling_engine::keys::publish::key_document;

use crate::{
    door::{Door, Json},
    error::Error,
};

pub(crate) async fn get(State(door): State<Door>) -> Result<Json<CanonicalJsonObject>, Error> {
    key_document(&door.engine).map(Json).map_err(Error::internal)
}
