//! GET /_matrix/client/v3/room_keys/version
//! POST /_matrix/client/v3/room_keys/version
//! DELETE /_matrix/client/v3/room_keys/version/{version}
//! GET /_matrix/client/v3/room_keys/version/{version}
//! PUT /_matrix/client/v3/room_keys/version/{version}

use serde::Deserialize;
use serde_json::{Map, Value, json, value::RawValue};
use starling_engine::backups;

use crate::{
    answer::{self, Answer},
    call::Call,
    error::Error,
};

#[derive(Deserialize)]
struct Body {
    algorithm: String,
    auth_data: Box<RawValue>,
    version: Option<String>,
}

pub(crate) async fn get_newest(call: Call) -> Answer {
    let session = call.authenticated_or_guest().await?;
    answer::json(&backups::get(&call.engine, &session.user_id, None).await?)
}

pub(crate) async fn post(mut call: Call) -> Answer {
    let session = call.authenticated_or_guest().await?;
    let body: Body = call.body_as().await?;
    let user = &session.user_id;
    let version = backups::create(&call.engine, user, &body.algorithm, &body.auth_data).await?;
    answer::json(&json!({ "version": version }))
}

pub(crate) async fn get(call: Call) -> Answer {
    let session = call.authenticated_or_guest().await?;
    let version = Some(call.path_arg(0));
    answer::json(&backups::get(&call.engine, &session.user_id, version).await?)
}

pub(crate) async fn put(mut call: Call) -> Answer {
    let session = call.authenticated_or_guest().await?;
    let Body { algorithm, auth_data, version } = call.body_as().await?;
    let path = call.path_arg(0);
    if version.is_some_and(|version| version != path) {
        return Err(Error::invalid_param("The version of a backup does not change"));
    }
    backups::update(&call.engine, &session.user_id, path, &algorithm, &auth_data).await?;
    answer::json(&Map::<String, Value>::new())
}

pub(crate) async fn delete(call: Call) -> Answer {
    let session = call.authenticated_or_guest().await?;
    backups::remove(&call.engine, &session.user_id, call.path_arg(0)).await?;
    answer::json(&Map::<String, Value>::new())
}
