//! GET /_matrix/federation/v1/openid/userinfo
//!
//! Asked by services that are no homeservers, so nobody signs.

use axum::extract::{RawQuery, State};
use serde_json::{Value, json};
use starling_engine::accounts::openid;

use crate::{
    door::{Door, Json},
    error::{Error, Kind},
};

pub(crate) async fn get(
    State(door): State<Door>,
    RawQuery(query): RawQuery,
) -> Result<Json<Value>, Error> {
    let query = query.unwrap_or_default();
    let mut parameters = url::form_urlencoded::parse(query.as_bytes());
    let token = parameters.find(|(name, _)| name == "access_token").map(|(_, value)| value);
    let token =
        token.ok_or_else(|| Error::new(Kind::MissingToken, "The access token is missing"))?;
    match openid::user_of(&door.engine, &token).await.map_err(Error::internal)? {
        Some(user_id) => Ok(Json(json!({ "sub": user_id }))),
        None => Err(Error::new(Kind::UnknownToken, "The access token is unknown or has expired")),
    }
}
