//! POST /_matrix/client/v3/user_directory/search

use serde::Deserialize;
use starling_engine::accounts::directory::search;

use crate::{
    answer::{Answer, json},
    call::Call,
    limits::Doing,
};

#[derive(Deserialize)]
struct Request {
    search_term: String,
    limit: Option<u64>,
}

pub(crate) async fn post(mut call: Call) -> Answer {
    let session = call.authenticated().await?;
    call.limit(Doing::Asking, &session)?;
    let Request { search_term, limit } = call.body_as().await?;
    json(&search::search(&call.engine, &session.user_id, &search_term, limit).await?)
}
