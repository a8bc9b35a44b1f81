//! GET /_matrix/client/v3/thirdparty/location
//! GET /_matrix/client/v3/thirdparty/location/{protocol}

use serde::Deserialize;

use crate::{answer::Answer, call::Call, error::Error};

#[derive(Deserialize)]
struct Query {
    #[serde(rename = "alias")]
    _alias: String,
}

/// No application service, so no bridged network.
pub(crate) async fn get(call: Call) -> Answer {
    call.authenticated().await?;
    Err(Error::not_found("This protocol is not known"))
}

/// No application service has made a room.
pub(crate) async fn get_by_alias(call: Call) -> Answer {
    call.authenticated().await?;
    let Query { .. } = call.query_as()?;
    Err(Error::not_found("This alias names no room of a bridged network"))
}
