//! POST /_matrix/client/v3/register/msisdn/requestToken

use crate::{answer::Answer, call::Call, error::Error};

pub(crate) async fn post(_call: Call) -> Answer {
    Err(Error::threepid_denied("This server takes no telephone numbers"))
}
