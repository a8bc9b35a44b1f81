//! GET /_matrix/client/v3/thirdparty/protocols

use starling_engine::appservices::networks;

use crate::{
    answer::{self, Answer},
    call::Call,
    limits::Doing,
};

pub(crate) async fn get(call: Call) -> Answer {
    let session = call.authenticated().await?;
    call.limit(Doing::Asking, &session)?;
    answer::json(&networks::protocols(&call.engine).await)
}
