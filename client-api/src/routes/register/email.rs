//! POST /_matrix/client/v3/register/email/requestToken

use starling_engine::{accounts::emails::Purpose, config::RegistrationMode};

use crate::{answer::Answer, call::Call, error::Error, request_token};

pub(crate) async fn post(mut call: Call) -> Answer {
    if call.engine.config.registration.mode == RegistrationMode::Closed {
        return Err(Error::threepid_denied("Nobody may register here"));
    }
    request_token::email(&mut call, Purpose::Register).await
}
