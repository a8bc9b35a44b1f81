//! POST /_matrix/client/v3/account/password
//! POST /_matrix/client/v3/account/password/email/requestToken
//! POST /_matrix/client/v3/account/password/msisdn/requestToken

use ruma::api::client::account::change_password::v3::{Request, Response};
use starling_engine::accounts::{
    emails::Purpose,
    password::{self, LogOut},
    uia::Stage,
};

use crate::{
    answer::{Answer, answer},
    call::Call,
    error::Error,
    limits::Doing,
    request_token, uia,
};

pub(crate) async fn post(mut call: Call) -> Answer {
    let session = call.maybe_authenticated().await?;
    call.take(Doing::Account, session.as_ref())?;
    let user = session.as_ref().map(|session| session.user_id.clone());
    let flows = uia::flows_of(&call.door, uia::SET_PASSWORD);
    let flows: Vec<&[Stage]> = flows.iter().map(Vec::as_slice).collect();
    let proof = uia::authenticate(&mut call, uia::SET_PASSWORD, user.as_deref(), &flows).await?;
    let request: Request = uia::parse_proved(&call, &proof)?;
    let user = user.or_else(|| proof.user.clone()).ok_or_else(Error::missing_token)?;
    let device = session.as_ref().map(|session| &*session.device_id);
    let log_out = if request.logout_devices { LogOut::AllBut(device) } else { LogOut::None };
    password::change(&call.engine, &user, request.new_password, log_out, &proof).await?;
    answer(Response::new())
}

pub(crate) async fn post_email_request_token(mut call: Call) -> Answer {
    request_token::email(&mut call, Purpose::Password).await
}

pub(crate) async fn post_msisdn_request_token(call: Call) -> Answer {
    let refusal = Error::threepid_denied("This server takes no telephone numbers");
    request_token::msisdn(call, refusal).await
}

#[cfg(test)]
mod tests {
    use http::StatusCode;
    use serde_json::{Value, json};

    use crate::testing::{TestAnswer, TestDoor, TestUser};

    const PATH: &str = "/_matrix/client/v3/account/password";
    const WHOAMI: &str = "/_matrix/client/v3/account/whoami";

    async fn log_in(door: &TestDoor, password: &str) -> TestAnswer {
        let body = json!({ "type": "m.login.password", "user": "alice", "password": password });
        door.post_anonymous("/_matrix/client/v3/login", body).await
    }

    fn with_auth(mut body: Value) -> Value {
        let identifier = json!({ "type": "m.id.user", "user": "alice" });
        body["auth"] =
            json!({ "type": "m.login.password", "identifier": identifier, "password": "secret" });
        body
    }

    #[tokio::test]
    async fn a_new_password_ends_the_other_sessions() {
        let door = TestDoor::new().await;
        let alice = door.register("alice").await;
        let other = TestUser::from_answer(&log_in(&door, "secret").await.ok());
        door.post(PATH, &alice, with_auth(json!({ "new_password": "new" }))).await.ok();
        door.get(WHOAMI, &alice).await.ok();
        door.get(WHOAMI, &other).await.refused(StatusCode::UNAUTHORIZED, "M_UNKNOWN_TOKEN");
        log_in(&door, "secret").await.refused(StatusCode::FORBIDDEN, "M_FORBIDDEN");
        log_in(&door, "new").await.ok();
    }

    #[tokio::test]
    async fn other_sessions_stay_when_asked_for() {
        let door = TestDoor::new().await;
        let alice = door.register("alice").await;
        let other = TestUser::from_answer(&log_in(&door, "secret").await.ok());
        let body = json!({ "new_password": "new", "logout_devices": false });
        door.post(PATH, &alice, with_auth(body)).await.ok();
        door.get(WHOAMI, &other).await.ok();
    }

    #[tokio::test]
    async fn the_old_password_is_a_proof_without_a_token() {
        let door = TestDoor::new().await;
        let alice = door.register("alice").await;
        door.register("bob").await;
        door.post_anonymous(PATH, with_auth(json!({ "new_password": "new" }))).await.ok();
        door.get(WHOAMI, &alice).await.refused(StatusCode::UNAUTHORIZED, "M_UNKNOWN_TOKEN");
        log_in(&door, "new").await.ok();
    }

    #[tokio::test]
    async fn a_bad_password_changes_nothing() {
        let door = TestDoor::new().await;
        let alice = door.register("alice").await;
        for bad in ["".to_owned(), "x".repeat(513)] {
            let answer = door.post(PATH, &alice, with_auth(json!({ "new_password": bad }))).await;
            answer.refused(StatusCode::BAD_REQUEST, "M_WEAK_PASSWORD");
        }
        let answer = door.post(PATH, &alice, with_auth(json!({}))).await;
        answer.refused(StatusCode::BAD_REQUEST, "M_MISSING_PARAM");
        log_in(&door, "secret").await.ok();
    }

    #[tokio::test]
    async fn no_password_is_stored_in_the_clear() {
        let door = TestDoor::new().await;
        let alice = door.register("alice").await;
        let body = json!({ "new_password": "a-very-new-one" });
        door.post(PATH, &alice, body.clone()).await;
        door.post(PATH, &alice, with_auth(body)).await.ok();
        let stored = door.test.stored_bytes().unwrap();
        let contains = |text: &str| stored.windows(text.len()).any(|w| w == text.as_bytes());
        assert!(contains("@alice:test"));
        for secret in ["a-very-new-one", &alice.token] {
            assert!(!contains(secret), "{secret}");
        }
    }
}
