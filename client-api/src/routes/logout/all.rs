//! POST /_matrix/client/v3/logout/all

use ruma::api::client::session::logout_all::v3::Response;
use starling_engine::accounts::devices;

use crate::{
    answer::{Answer, answer},
    call::Call,
};

pub(crate) async fn post(call: Call) -> Answer {
    let session = call.authenticated_or_locked().await?;
    devices::log_out_all(&call.engine, &session.user_id).await?;
    answer(Response::new())
}
