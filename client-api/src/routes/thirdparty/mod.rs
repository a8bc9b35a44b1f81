//! `/thirdparty`: networks that application services bridge to.

pub(crate) mod location;
pub(crate) mod protocol;
pub(crate) mod protocols;
pub(crate) mod user;

use serde_json::Value;
use starling_engine::appservices::networks::{self, Kind};

use crate::{
    answer::{self, Answer},
    call::Call,
    error::Error,
    limits::Doing,
};

/// How many fields may be looked for, and how long one may be with its name, in bytes.
const FIELDS: (usize, usize) = (50, 4_096);

/// What says who asks, and not what is looked for.
const ABOUT_WHO_ASKS: [&str; 4] =
    ["access_token", "user_id", "device_id", "org.matrix.msc3202.device_id"];

/// Users or places of the network that the path names, by the fields in the query.
async fn find(call: &Call, kind: Kind) -> Answer {
    let session = call.authenticated().await?;
    call.limit(Doing::Asking, &session)?;
    let mut fields: Vec<(String, String)> = call.query_as()?;
    fields.retain(|(name, _)| !ABOUT_WHO_ASKS.contains(&name.as_str()));
    let (most, longest) = FIELDS;
    if fields.len() > most || fields.iter().any(|(name, it)| name.len() + it.len() > longest) {
        return Err(Error::invalid_param("There are too many fields, or one is too long"));
    }
    let found = networks::find(&call.engine, kind, call.path_arg(0), &fields).await;
    found_or_nothing(found.ok_or_else(|| Error::not_found("This protocol is not known"))?)
}

fn found_or_nothing(found: Vec<Value>) -> Answer {
    match found.is_empty() {
        true => Err(Error::not_found("There is nothing of that kind")),
        false => answer::json(&found),
    }
}
