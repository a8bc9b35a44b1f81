//! POST /_matrix/client/v3/user/{userId}/openid/request_token

use serde_json::json;
use starling_engine::accounts::openid::{self, LIFETIME};

use crate::{
    answer::{self, Answer},
    call::Call,
    limits::Doing,
};

pub(crate) async fn post(mut call: Call) -> Answer {
    let user = call.authenticated_as(0).await?;
    call.door.limits.user(Doing::Account, &user)?;
    call.json_body().await?;
    let token = openid::issue(&call.engine, &user).await?;
    answer::json(&json!({
        "access_token": token,
        "token_type": "Bearer",
        "matrix_server_name": call.engine.config.server_name,
        "expires_in": LIFETIME.as_secs(),
    }))
}
