//! GET /_matrix/client/v3/thirdparty/protocol/{protocol}

use starling_engine::appservices::networks;

use crate::{
    answer::{self, Answer},
    call::Call,
    error::Error,
    limits::Doing,
};

pub(crate) async fn get(call: Call) -> Answer {
    let session = call.authenticated().await?;
    call.limit(Doing::Asking, &session)?;
    let protocol = networks::protocol(&call.engine, call.path_arg(0)).await;
    answer::json(&protocol.ok_or_else(|| Error::not_found("This protocol is not known"))?)
}
