//! GET /_matrix/client/v1/register/m.login.registration_token/validity

use ruma::api::client::account::check_registration_token_validity::v1::{Request, Response};
use starling_engine::{
    accounts::{attempts, uia},
    config::RegistrationMode,
};

use crate::{
    answer::{Answer, answer},
    call::Call,
    error::Error,
};

pub(crate) async fn get(mut call: Call) -> Answer {
    call.anonymous()?;
    let request: Request = call.parse().await?;
    if call.engine.config.registration.mode != RegistrationMode::Token {
        return Err(Error::forbidden("Registration tokens are not in use here"));
    }
    if call.door.settings.rate_limits {
        let kind = attempts::Kind::RegistrationTokens;
        attempts::count_address(&call.engine, kind, call.client_ip()).await?;
    }
    answer(Response::new(uia::is_usable(&call.engine, &request.token).await?))
}
