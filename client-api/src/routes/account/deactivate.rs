//! POST /_matrix/client/v3/account/deactivate

use ruma::api::client::account::{
    ThirdPartyIdRemovalStatus,
    deactivate::v3::{Request, Response},
};
use starling_engine::accounts::deactivate;

use crate::{
    answer::{Answer, answer},
    call::Call,
    error::Error,
    limits::Doing,
    uia,
};

pub(crate) async fn post(mut call: Call) -> Answer {
    let session = call.maybe_authenticated().await?;
    call.take(Doing::Account, session.as_ref())?;
    let action = uia::DEACTIVATE;
    let proof = match &session {
        Some(session) => uia::of_session(&mut call, action, session, uia::PASSWORD).await?,
        None => uia::authenticate(&mut call, action, None, uia::PASSWORD).await?,
    };
    let user = session.map(|session| session.user_id);
    let request: Request = uia::parse_proved(&call, &proof)?;
    let user = user.or_else(|| proof.user.clone()).ok_or_else(Error::missing_token)?;
    deactivate::deactivate(&call.engine, &user, request.erase, &proof).await?;
    // No identity server holds anything of this account: there was nothing to unbind.
    answer(Response::new(ThirdPartyIdRemovalStatus::Success))
}

#[cfg(test)]
mod tests {
    use http::StatusCode;
    use serde_json::json;

    use crate::testing::TestDoor;

    #[tokio::test]
    async fn a_closed_account_lets_nobody_in_and_keeps_its_name() {
        let door = TestDoor::new().await;
        let alice = door.register("alice").await;
        let path = "/_matrix/client/v3/account/deactivate";
        assert_eq!(door.post(path, &alice, json!({})).await.status, StatusCode::UNAUTHORIZED);
        let auth = json!({ "type": "m.login.password", "user": "alice", "password": "secret" });
        let answer = door.post(path, &alice, json!({ "auth": auth, "erase": true })).await.ok();
        assert_eq!(answer["id_server_unbind_result"], "success");
        let answer = door.get("/_matrix/client/v3/account/whoami", &alice).await;
        answer.refused(StatusCode::UNAUTHORIZED, "M_UNKNOWN_TOKEN");
        let answer = door.post_anonymous("/_matrix/client/v3/login", auth.clone()).await;
        answer.refused(StatusCode::FORBIDDEN, "M_USER_DEACTIVATED");
        let answer = door.post_anonymous(path, json!({ "auth": auth })).await;
        answer.refused(StatusCode::UNAUTHORIZED, "M_USER_DEACTIVATED");
        let body = json!({ "username": "alice" });
        let answer = door.post_anonymous("/_matrix/client/v3/register", body).await;
        answer.refused(StatusCode::BAD_REQUEST, "M_USER_IN_USE");
    }
}
