//! GET /_matrix/client/v3/thirdparty/user
//! GET /_matrix/client/v3/thirdparty/user/{protocol}

use serde::Deserialize;

use crate::{answer::Answer, call::Call, error::Error};

#[derive(Deserialize)]
struct Query {
    #[serde(rename = "userid")]
    _user_id: String,
}

/// No application service, so no bridged network.
pub(crate) async fn get(call: Call) -> Answer {
    call.authenticated().await?;
    Err(Error::not_found("This protocol is not known"))
}

/// No application service has made a user.
pub(crate) async fn get_by_id(call: Call) -> Answer {
    call.authenticated().await?;
    let Query { .. } = call.query_as()?;
    Err(Error::not_found("This is no user of a bridged network"))
}
