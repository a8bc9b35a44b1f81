//! GET /_matrix/client/v3/keys/changes

use serde::Deserialize;
use starling_engine::{encryption::news, reading::token::SyncToken};

use crate::{
    answer::{Answer, json},
    call::Call,
};

#[derive(Deserialize)]
struct Query {
    from: String,
    to: String,
}

pub(crate) async fn get(call: Call) -> Answer {
    let session = call.authenticated_or_guest().await?;
    let query: Query = call.query_as()?;
    let (from, to) = (SyncToken::parse(&query.from)?, SyncToken::parse(&query.to)?);
    json(&news::changes(&call.engine, &session.user_id, &from, &to).await?)
}
