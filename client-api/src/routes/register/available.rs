//! GET /_matrix/client/v3/register/available

use ruma::api::client::account::get_username_availability::v3::{Request, Response};
use starling_engine::accounts::names;

use crate::{
    answer::{Answer, answer},
    call::Call,
    limits::Doing,
};

pub(crate) async fn get(mut call: Call) -> Answer {
    call.door.limits.address(Doing::Account, call.client_ip())?;
    let request: Request = call.parse().await?;
    names::available(&call.engine, &request.username).await?;
    answer(Response::new(true))
}
