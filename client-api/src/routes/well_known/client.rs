//! GET /.well-known/matrix/client

use ruma::api::client::discovery::discover_homeserver::{HomeserverInfo, Response};

use crate::{
    answer::{Answer, answer},
    call::Call,
    error::Error,
};

pub(crate) async fn get(call: Call) -> Answer {
    let Some(url) = call.engine.config.public_url.clone() else {
        return Err(Error::not_found("This server does not announce its address"));
    };
    answer(Response::new(HomeserverInfo::new(url)))
}
