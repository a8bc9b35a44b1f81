//! POST /_matrix/client/v3/register

use ruma::{
    OwnedUserId,
    api::client::account::register::{LoginType, RegistrationKind, v3::Request},
};
use serde_json::{Value, json};
use starling_engine::{
    accounts::{
        attempts,
        devices::NewDevice,
        names,
        register::{self, NewAccount, Registered},
        tokens,
        uia::Stage,
    },
    config::RegistrationMode,
};

use crate::{
    answer::{self, Answer},
    call::Call,
    error::Error,
    limits::Doing,
    uia,
};

pub(crate) mod available;
pub(crate) mod email;
pub(crate) mod m_login_registration_token;
pub(crate) mod msisdn;

pub(crate) async fn post(mut call: Call) -> Answer {
    let asked: Request = uia::parse_without_auth(&mut call).await?;
    if asked.login_type == Some(LoginType::ApplicationService) {
        return by_service(&call, asked).await;
    }
    if asked.kind == RegistrationKind::Guest {
        return guest(&call, asked).await;
    }
    refuse_early(&call, &asked).await?;
    let flows = uia::flows_of(&call.door, uia::REGISTER);
    let flows: Vec<&[Stage]> = flows.iter().map(Vec::as_slice).collect();
    let proof = uia::authenticate(&mut call, uia::REGISTER, None, &flows).await?;
    let request: Request = uia::parse_proved(&call, &proof)?;
    count(&call).await?;
    let upgrades = guest_to_upgrade(&call, &request).await?;
    let new = NewAccount { upgrades, ..new_account(request) };
    let registered = register::register(&call.engine, new, &proof).await?;
    answer::json(&response(registered))
}

/// An application service proves by its token who it is, and makes users in its namespaces.
///
/// <https://spec.matrix.org/v1.19/application-service-api/#server-admin-style-permissions>
async fn by_service(call: &Call, asked: Request) -> Answer {
    let service = call.required_appservice()?;
    if asked.username.is_none() {
        return Err(Error::missing_param("An application service says who is to be made"));
    }
    let new = NewAccount { appservice: Some(service), password: None, ..new_account(asked) };
    let registered = register::by_service(&call.engine, new).await?;
    answer::json(&response(registered))
}

/// Guests prove nothing, and choose nothing but the name of their device.
async fn guest(call: &Call, asked: Request) -> Answer {
    if !call.engine.config.registration.guests {
        return Err(Error::forbidden("Guests are not let in"));
    }
    call.door.limits.address(Doing::Account, call.client_ip())?;
    count(call).await?;
    let registered = register::guest(&call.engine, asked.initial_device_display_name).await?;
    answer::json(&response(registered))
}

/// The guest whose account the new one is to be, who must be named.
///
/// <https://spec.matrix.org/v1.19/client-server-api/#guest-access>
async fn guest_to_upgrade(call: &Call, asked: &Request) -> Result<Option<OwnedUserId>, Error> {
    let Some(token) = &asked.guest_access_token else { return Ok(None) };
    let session = tokens::authenticate(&call.engine, token).await?;
    if session.is_locked() {
        return Err(Error::user_locked());
    }
    let Some(name) = &asked.username else {
        return Err(Error::missing_param("A guest who registers gives the name they have"));
    };
    if !session.is_guest() || session.user_id.localpart() != name {
        return Err(Error::forbidden("This is not the access token of that guest"));
    }
    Ok(Some(session.user_id))
}

/// What is refused before anybody proves anything, so that clients can tell early.
async fn refuse_early(call: &Call, asked: &Request) -> Result<(), Error> {
    if call.engine.config.registration.mode == RegistrationMode::Closed {
        return Err(Error::forbidden("Nobody may register here"));
    }
    call.door.limits.address(Doing::Account, call.client_ip())?;
    if guest_to_upgrade(call, asked).await?.is_none()
        && let Some(name) = &asked.username
    {
        names::available(&call.engine, name).await?;
    }
    Ok(())
}

async fn count(call: &Call) -> Result<(), Error> {
    if call.door.settings.rate_limits {
        let kind = attempts::Kind::Registrations;
        attempts::count_address(&call.engine, kind, call.client_ip()).await?;
    }
    Ok(())
}

fn response(registered: Registered) -> Value {
    let mut response = json!({ "user_id": registered.user_id });
    if let Some((device_id, tokens)) = registered.device {
        response["device_id"] = json!(device_id);
        response["access_token"] = json!(tokens.access_token);
        if let (Some(token), Some(lifetime)) = (tokens.refresh_token, tokens.expires_in) {
            response["refresh_token"] = json!(token);
            response["expires_in_ms"] = json!(lifetime.as_millis());
        }
    }
    response
}

fn new_account(request: Request) -> NewAccount {
    NewAccount {
        name: request.username,
        password: request.password,
        device: (!request.inhibit_login).then_some(NewDevice {
            device_id: request.device_id,
            display_name: request.initial_device_display_name,
            refreshable: request.refresh_token,
        }),
        ..NewAccount::default()
    }
}

#[cfg(test)]
mod tests {
    use http::StatusCode;
    use serde_json::{Value, json};
    use starling_engine::{
        accounts::admin,
        config::RegistrationMode,
        testing::{TestEngine, config},
    };

    use crate::{
        Policy, Settings,
        testing::{TestAnswer, TestDoor},
    };

    const PATH: &str = "/_matrix/client/v3/register";

    async fn door_of_mode(mode: RegistrationMode, settings: Settings) -> TestDoor {
        let mut config = config(ruma::server_name!("test"));
        config.registration.mode = mode;
        TestDoor::over(TestEngine::with(config).await.unwrap(), settings)
    }

    async fn post(door: &TestDoor, body: Value) -> TestAnswer {
        door.post_anonymous(PATH, body).await
    }

    #[tokio::test]
    async fn anybody_registers_in_two_steps_and_is_logged_in() {
        let door = TestDoor::new().await;
        let wanted = post(&door, json!({ "username": "Alice", "password": "secret" })).await;
        assert_eq!(wanted.status, StatusCode::UNAUTHORIZED);
        assert_eq!(wanted.body["flows"], json!([{ "stages": ["m.login.dummy"] }]));
        let auth = json!({ "type": "m.login.dummy", "session": wanted.body["session"] });
        let body = json!({ "username": "Alice", "password": "secret", "auth": auth,
                           "device_id": null, "initial_device_display_name": "x" });
        post(&door, body).await.refused(StatusCode::FORBIDDEN, "M_FORBIDDEN");
        let body = json!({ "username": "Alice", "password": "secret", "auth": auth });
        let answer = post(&door, body.clone()).await.ok();
        assert_eq!(answer["user_id"], "@alice:test");
        let query = format!("?access_token={}", answer["access_token"].as_str().unwrap());
        door.get_anonymous(&format!("/_matrix/client/v3/account/whoami{query}")).await.ok();
        post(&door, body).await.refused(StatusCode::BAD_REQUEST, "M_USER_IN_USE");
    }

    #[tokio::test]
    async fn a_session_remembers_the_request_but_no_password() {
        let door = TestDoor::new().await;
        let first = json!({ "username": "alice", "password": "secret", "device_id": "ONE" });
        let session = post(&door, first).await.body["session"].clone();
        let auth = json!({ "type": "m.login.dummy", "session": session });
        let body = json!({ "auth": auth, "password": "secret" });
        let answer = post(&door, body).await.ok();
        assert_eq!(answer["user_id"], "@alice:test");
        assert_eq!(answer["device_id"], "ONE");
        let body = json!({ "auth": auth });
        let again = post(&door, body).await;
        assert_ne!(again.body["user_id"], "@alice:test", "a session serves once");
    }

    #[tokio::test]
    async fn sessions_expire() {
        let door = TestDoor::new().await;
        let first = post(&door, json!({ "username": "alice" })).await;
        let session = first.body["session"].clone();
        door.test.clock.advance(15 * 60 * 1_000);
        let body = json!({ "auth": { "session": session } });
        let answer = post(&door, body).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
        assert_ne!(answer.body["session"], session);
    }

    #[tokio::test]
    async fn a_session_keeps_no_large_body_for_strangers() {
        let door = TestDoor::new().await;
        let body = |size: usize| json!({ "username": "alice", "org.example": "x".repeat(size) });
        assert_eq!(post(&door, body(4_000)).await.status, StatusCode::UNAUTHORIZED);
        let answer = post(&door, body(9_000)).await;
        answer.refused(StatusCode::PAYLOAD_TOO_LARGE, "M_TOO_LARGE");
    }

    #[tokio::test]
    async fn names_keep_to_the_grammar() {
        let door = TestDoor::new().await;
        for name in ["a b", "é", "a:b", ""] {
            let answer = post(&door, json!({ "username": name })).await;
            answer.refused(StatusCode::BAD_REQUEST, "M_INVALID_USERNAME");
        }
        let available = "/_matrix/client/v3/register/available?username=";
        assert_eq!(door.get_anonymous(&format!("{available}bob")).await.ok()["available"], true);
        door.register("bob").await;
        let answer = door.get_anonymous(&format!("{available}bob")).await;
        answer.refused(StatusCode::BAD_REQUEST, "M_USER_IN_USE");
        let answer = door.get_anonymous("/_matrix/client/v3/register/available").await;
        answer.refused(StatusCode::BAD_REQUEST, "M_MISSING_PARAM");
    }

    #[tokio::test]
    async fn one_may_register_without_logging_in() {
        let door = TestDoor::new().await;
        let body = json!({ "username": "alice", "password": "secret", "inhibit_login": true,
                           "auth": { "type": "m.login.dummy" } });
        let answer = post(&door, body).await.ok();
        assert_eq!(answer, json!({ "user_id": "@alice:test" }));
    }

    #[tokio::test]
    async fn guests_are_not_let_in() {
        let door = TestDoor::new().await;
        let answer = door.post_anonymous(&format!("{PATH}?kind=guest"), json!({})).await;
        answer.refused(StatusCode::FORBIDDEN, "M_FORBIDDEN");
    }

    #[tokio::test]
    async fn a_closed_server_registers_nobody() {
        let door = door_of_mode(RegistrationMode::Closed, Settings::default()).await;
        let body = json!({ "username": "alice", "auth": { "type": "m.login.dummy" } });
        post(&door, body).await.refused(StatusCode::FORBIDDEN, "M_FORBIDDEN");
    }

    #[tokio::test]
    async fn a_token_registers_as_many_as_it_is_for() {
        let door = door_of_mode(RegistrationMode::Token, Settings::default()).await;
        let token = admin::first_registration_token(door.engine()).await.unwrap().unwrap();
        assert_eq!(admin::first_registration_token(door.engine()).await.unwrap(), None);
        let validity = "/_matrix/client/v1/register/m.login.registration_token/validity?token=";
        let is_valid = async |token: &str| {
            door.get_anonymous(&format!("{validity}{token}")).await.ok()["valid"].clone()
        };
        assert_eq!(is_valid(&token).await, true);
        assert_eq!(is_valid("x").await, false);
        let body = |name: &str, kind: &str, token: &str| json!({ "username": name, "password": "x", "auth": { "type": kind, "token": token } });
        let token_stage = "m.login.registration_token";
        let answer = post(&door, body("alice", "m.login.dummy", &token)).await;
        answer.refused(StatusCode::UNAUTHORIZED, "M_UNKNOWN");
        for wrong in ["", "x"] {
            let answer = post(&door, body("alice", token_stage, wrong)).await;
            answer.refused(StatusCode::UNAUTHORIZED, "M_FORBIDDEN");
        }
        post(&door, body("alice", token_stage, &token)).await.ok();
        assert_eq!(is_valid(&token).await, false);
        let answer = post(&door, body("bob", token_stage, &token)).await;
        answer.refused(StatusCode::UNAUTHORIZED, "M_FORBIDDEN");
    }

    #[tokio::test]
    async fn policies_must_be_agreed_to() {
        let policy = Policy {
            id: "privacy".to_owned(),
            version: "2".to_owned(),
            name: "Privacy".to_owned(),
            url: "https://test/privacy".to_owned(),
            translations: std::collections::BTreeMap::new(),
        };
        let settings = Settings { policies: vec![policy], ..Settings::default() };
        let door = door_of_mode(RegistrationMode::Open, settings).await;
        let wanted = post(&door, json!({ "username": "alice", "password": "x" })).await;
        assert_eq!(wanted.body["flows"], json!([{ "stages": ["m.login.terms"] }]));
        let shown = &wanted.body["params"]["m.login.terms"]["policies"]["privacy"];
        assert_eq!(shown["en"]["url"], "https://test/privacy");
        let auth = json!({ "type": "m.login.terms", "session": wanted.body["session"] });
        post(&door, json!({ "username": "alice", "password": "x", "auth": auth })).await.ok();
    }

    #[tokio::test]
    async fn malformed_requests_are_refused() {
        let door = TestDoor::new().await;
        for (body, errcode) in [
            ("{nope", "M_NOT_JSON"),
            ("[]", "M_BAD_JSON"),
            (r#"{"username":5}"#, "M_BAD_JSON"),
            (r#"{"password":"","auth":{"type":"m.login.dummy"}}"#, "M_WEAK_PASSWORD"),
        ] {
            let answer = door.send_bytes(http::Method::POST, PATH, None, body).await;
            answer.refused(StatusCode::BAD_REQUEST, errcode);
        }
        let large = format!(r#"{{"username":"{}"}}"#, "a".repeat(1 << 20));
        let answer = door.send_bytes(http::Method::POST, PATH, None, large).await;
        answer.refused(StatusCode::PAYLOAD_TOO_LARGE, "M_TOO_LARGE");
    }

    #[tokio::test]
    async fn too_many_registrations_must_wait() {
        let settings = Settings { rate_limits: true, ..Settings::default() };
        let door = door_of_mode(RegistrationMode::Open, settings).await;
        for number in 0..20 {
            door.register(&format!("user{number}")).await;
            door.test.clock.advance(1_000);
        }
        let body = json!({ "auth": { "type": "m.login.dummy" } });
        let answer = post(&door, body).await;
        answer.refused(StatusCode::TOO_MANY_REQUESTS, "M_LIMIT_EXCEEDED");
        assert_eq!(answer.headers["retry-after"], "3580");
    }
}
