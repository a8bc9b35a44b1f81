//! POST /_matrix/client/v3/register/msisdn/requestToken

use crate::{answer::Answer, call::Call, error::Error, request_token};

pub(crate) async fn post(call: Call) -> Answer {
    let refusal = Error::threepid_denied("This server takes no telephone numbers");
    request_token::msisdn(call, refusal).await
}
