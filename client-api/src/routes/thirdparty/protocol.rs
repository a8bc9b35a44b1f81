//! GET /_matrix/client/v3/thirdparty/protocol/{protocol}

use crate::{answer::Answer, call::Call, error::Error};

/// No application service, so no bridged network.
pub(crate) async fn get(call: Call) -> Answer {
    call.authenticated().await?;
    Err(Error::not_found("This protocol is not known"))
}
