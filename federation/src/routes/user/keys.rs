//! POST /_matrix/federation/v1/user/keys/claim
//! POST /_matrix/federation/v1/user/keys/query

use axum::extract::State;
use serde::{Deserialize, Serialize};
use starling_engine::encryption::{
    claim::{self, Claimed},
    query, serve,
};

use crate::{
    door::{Door, Json, SignedBody},
    error::Error,
};

#[derive(Deserialize)]
pub(crate) struct Query {
    device_keys: query::Wanted,
}

pub(crate) async fn post_query(
    State(door): State<Door>,
    SignedBody { origin, body, .. }: SignedBody<Query>,
) -> Result<Json<query::Keys>, Error> {
    let keys = serve::query(&door.engine, &origin, body.device_keys).await;
    Ok(Json(keys.map_err(Error::internal)?))
}

#[derive(Deserialize)]
pub(crate) struct Claim {
    one_time_keys: claim::Wanted,
}

#[derive(Serialize)]
pub(crate) struct Keys {
    one_time_keys: Claimed,
}

pub(crate) async fn post_claim(
    State(door): State<Door>,
    SignedBody { body, .. }: SignedBody<Claim>,
) -> Result<Json<Keys>, Error> {
    let one_time_keys = claim::local(&door.engine, &body.one_time_keys).await;
    Ok(Json(Keys { one_time_keys: one_time_keys.map_err(Error::internal)? }))
}
