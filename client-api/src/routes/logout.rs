//! POST /_matrix/client/v3/logout

use ruma::api::client::session::logout::v3::Response;
use starling_engine::accounts::devices;

use crate::{
    answer::{Answer, answer},
    call::Call,
    error::Error,
};

pub(crate) mod all;

pub(crate) async fn post(call: Call) -> Answer {
    let session = call.authenticated_or_locked().await?;
    if session.device().is_none() {
        return Err(Error::forbidden("The token of an application service does not end"));
    }
    devices::log_out(&call.engine, &session).await?;
    answer(Response::new())
}
