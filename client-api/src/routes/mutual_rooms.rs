//! GET /_matrix/client/v1/mutual_rooms

use ruma::UserId;
use serde::Deserialize;
use starling_engine::rooms::mutual::{self, Page};

use crate::{
    answer::{Answer, json},
    call::Call,
    error::Error,
    limits::Doing,
};

#[derive(Deserialize)]
struct Query {
    user_id: String,
    from: Option<String>,
    /// The name of `from` before specification v1.19.
    batch_token: Option<String>,
}

pub(crate) async fn get(call: Call) -> Answer {
    json(&page(&call).await?)
}

pub(crate) async fn page(call: &Call) -> Result<Page, Error> {
    let session = call.authenticated().await?;
    call.limit(Doing::Asking, &session)?;
    let query: Query = call.query_as()?;
    let other = UserId::parse(query.user_id.as_str())
        .map_err(|_| Error::invalid_param("`user_id` is not a user ID"))?;
    let from = query.from.or(query.batch_token);
    Ok(mutual::page(&call.engine, &session.user_id, &other, from.as_deref()).await?)
}
