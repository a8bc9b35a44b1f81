//! POST /_matrix/client/v3/user/{userId}/filter
//! GET /_matrix/client/v3/user/{userId}/filter/{filterId}

use serde_json::json;
use starling_engine::{accounts::Session, sync::filters};

use crate::{
    answer::{Answer, json as answer_json, raw_json},
    call::Call,
    error::Error,
    limits::Doing,
};

pub(crate) async fn post(mut call: Call) -> Answer {
    let session = owner(&call).await?;
    call.limit(Doing::Account, &session)?;
    let body = call.json_body().await?;
    let json = str::from_utf8(&body).map_err(|_| Error::not_json("The body is not UTF-8"))?;
    let json = if json.is_empty() { "{}" } else { json };
    let filter_id = filters::store(&call.engine, &session.user_id, json).await?;
    answer_json(&json!({ "filter_id": filter_id }))
}

pub(crate) async fn get(call: Call) -> Answer {
    let session = owner(&call).await?;
    let filter = filters::get(&call.engine, &session.user_id, call.path_arg(1)).await?;
    raw_json(filter.ok_or_else(|| Error::not_found("There is no such filter"))?)
}

/// The caller, who must be the user of the path.
async fn owner(call: &Call) -> Result<Session, Error> {
    let session = call.authenticated().await?;
    if call.path_arg(0) != session.user_id.as_str() {
        return Err(Error::forbidden("These are the filters of somebody else"));
    }
    Ok(session)
}
