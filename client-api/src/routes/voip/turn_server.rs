//! GET /_matrix/client/v3/voip/turnServer

use serde_json::json;
use starling_engine::calls;

use crate::{
    answer::{self, Answer},
    call::Call,
    error::Error,
    settings::TurnAccess,
};

/// Clients take an empty object to say that there is no TURN server.
pub(crate) async fn get(call: Call) -> Answer {
    let turn = call.door.settings.turn.as_ref();
    let session = match turn.is_some_and(|turn| turn.guests) {
        true => call.authenticated_or_guest().await?,
        false => call.authenticated().await?,
    };
    let Some(turn) = turn else { return answer::json(&json!({})) };
    let ttl = i64::try_from(turn.ttl.as_secs()).unwrap_or(i64::MAX);
    let (username, password) = match &turn.access {
        TurnAccess::Account { username, password } => (username.clone(), password.clone()),
        TurnAccess::SharedSecret(secret) => {
            let until = (call.engine.clock.now_ms() / 1_000).saturating_add(ttl);
            calls::credentials(secret, &session.user_id, until)
                .ok_or_else(|| Error::internal("the secret of the TURN server is no key"))?
        }
    };
    answer::json(&json!({
        "username": username, "password": password, "uris": turn.uris, "ttl": ttl,
    }))
}
