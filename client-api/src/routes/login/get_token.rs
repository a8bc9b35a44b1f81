//! POST /_matrix/client/v1/login/get_token

use serde_json::json;
use starling_engine::accounts::login_tokens::{self, LIFETIME};

use crate::{
    answer::{self, Answer},
    call::Call,
    error::Error,
    limits::Doing,
    uia,
};

pub(crate) async fn post(mut call: Call) -> Answer {
    let session = call.authenticated_to_act().await?;
    if !call.door.settings.login_tokens {
        return Err(Error::not_in_use("This server makes no log-in tokens"));
    }
    call.limit(Doing::Account, &session)?;
    let user = &session.user_id;
    let action = uia::GET_LOGIN_TOKEN;
    let proof = uia::authenticate(&mut call, action, Some(user), uia::PASSWORD).await?;
    let token = login_tokens::issue(&call.engine, user, &proof).await?;
    answer::json(&json!({ "login_token": token, "expires_in_ms": LIFETIME.as_millis() as u64 }))
}
