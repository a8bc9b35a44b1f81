//! GET /_matrix/client/v3/account/3pid

use ruma::api::client::account::get_3pids::v3::Response;

use crate::{
    answer::{Answer, answer},
    call::Call,
};

/// No account can have an e-mail address or a telephone number (`m.3pid_changes` is off).
pub(crate) async fn get(call: Call) -> Answer {
    call.authenticated().await?;
    answer(Response::new(Vec::new()))
}
