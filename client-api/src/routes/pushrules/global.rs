//! GET /_matrix/client/v3/pushrules/global/

use starling_engine::push::rules;

use crate::{
    answer::{self, Answer},
    call::Call,
};

pub(crate) async fn get(call: Call) -> Answer {
    let session = call.authenticated().await?;
    answer::json(&rules::of_user(&session.user_id))
}
