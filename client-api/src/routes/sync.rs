//! GET /_matrix/client/v3/sync
//! POST /_matrix/client/unstable/org.matrix.simplified_msc3575/sync
//! POST /_matrix/client/v4/sync

use std::time::Duration;

use serde::Deserialize;
use starling_engine::{
    Engine,
    accounts::Session,
    presence::{self, Status},
    reading::{access::Asking, filter::Filter, token::SyncToken},
    sync::{self, Request, StateWanted, filters},
};

use crate::{
    answer::{Answer, json},
    call::Call,
    error::Error,
    sliding,
};

#[derive(Deserialize)]
struct Query {
    filter: Option<String>,
    since: Option<String>,
    #[serde(default)]
    full_state: bool,
    #[serde(default)]
    use_state_after: bool,
    /// The name of `use_state_after` before it was in the specification.
    #[serde(default, rename = "org.matrix.msc4222.use_state_after")]
    unstable_use_state_after: bool,
    #[serde(default)]
    timeout: u64,
    set_presence: Option<String>,
}

pub(crate) async fn get(call: Call) -> Answer {
    let session = call.authenticated_or_guest().await?;
    let query: Query = call.query_as()?;
    let state = state_wanted(&query);
    let request = Request {
        since: query.since.as_deref().map(SyncToken::parse).transpose()?,
        filter: filter(&call.engine, &session, query.filter).await?.into(),
        full_state: query.full_state,
        state,
        timeout: Duration::from_millis(query.timeout),
        to_device: true,
    };
    let status = match query.set_presence {
        None => Status::Online,
        Some(name) => Status::of_name(&name)
            .ok_or_else(|| Error::invalid_param("`set_presence` has an unknown value"))?,
    };
    let (user, device) = (&session.user_id, &session.device_id);
    let _connected = presence::connect(&call.engine, user, device, status).await?;
    let asking = Asking { user_id: &session.user_id, device_id: Some(&session.device_id) };
    json(&sync::sync(&call.engine, asking, request).await?)
}

pub(crate) async fn post_simplified(mut call: Call) -> Answer {
    let session = call.authenticated_or_guest().await?;
    sliding::simplified::post(&mut call, &session).await
}

pub(crate) async fn post_v4(mut call: Call) -> Answer {
    let session = call.authenticated_or_guest().await?;
    sliding::v4::post(&mut call, &session).await
}

fn state_wanted(query: &Query) -> StateWanted {
    match (query.use_state_after, query.unstable_use_state_after) {
        (true, _) => StateWanted::After,
        (false, true) => StateWanted::UnstableAfter,
        (false, false) => StateWanted::Before,
    }
}

/// The filter itself, or the ID of one that is stored.
async fn filter(
    engine: &Engine,
    session: &Session,
    given: Option<String>,
) -> Result<Filter, Error> {
    let json = match given {
        None => return Ok(Filter::default()),
        Some(json) if json.starts_with('{') => json,
        Some(id) => filters::get(engine, &session.user_id, &id)
            .await?
            .ok_or_else(|| Error::invalid_param("There is no such filter"))?,
    };
    Filter::parse(&json).map_err(|error| Error::invalid_param(error.to_string()))
}
