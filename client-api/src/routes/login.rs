//! GET /_matrix/client/v3/login
//! POST /_matrix/client/v3/login

pub(crate) mod get_token;

use ruma::{
    OwnedDeviceId,
    api::client::session::{
        get_login_types,
        login::v3::{DiscoveryInfo, HomeserverInfo, Response},
    },
};
use serde::Deserialize;
use serde_json::{Map, Value};
use starling_engine::accounts::{
    attempts,
    devices::NewDevice,
    login::{self, LoggedIn},
    uia,
};

use crate::{
    answer::{Answer, answer},
    call::Call,
    error::Error,
};

/// The request, of which ruma's type cannot do without a `type`.
#[derive(Deserialize)]
struct Request {
    r#type: String,
    password: Option<String>,
    token: Option<String>,
    device_id: Option<OwnedDeviceId>,
    initial_device_display_name: Option<String>,
    #[serde(default)]
    refresh_token: bool,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

pub(crate) async fn get(call: Call) -> Answer {
    call.anonymous()?;
    let password = get_login_types::v3::PasswordLoginType::new();
    let mut flows = vec![get_login_types::v3::LoginType::Password(password)];
    if call.door.settings.login_tokens {
        let mut token = get_login_types::v3::TokenLoginType::new();
        token.get_login_token = true;
        flows.push(get_login_types::v3::LoginType::Token(token));
    }
    if !call.engine.config.appservices.is_empty() {
        let service = get_login_types::v3::ApplicationServiceLoginType::new();
        flows.push(get_login_types::v3::LoginType::ApplicationService(service));
    }
    answer(get_login_types::v3::Response::new(flows))
}

pub(crate) async fn post(mut call: Call) -> Answer {
    call.anonymous()?;
    let request: Request = call.body_as().await?;
    let logged_in = match request.r#type.as_str() {
        "m.login.password" => with_password(&call, request).await?,
        "m.login.application_service" => by_service(&call, request).await?,
        "m.login.token" if call.door.settings.login_tokens => with_token(&call, request).await?,
        _ => return Err(Error::unknown("This way to log in is not offered")),
    };
    let tokens = logged_in.tokens;
    let mut response = Response::new(logged_in.user_id, tokens.access_token, logged_in.device_id);
    response.refresh_token = tokens.refresh_token;
    response.expires_in = tokens.expires_in;
    let url = call.engine.config.public_url.clone();
    response.well_known = url.map(|url| DiscoveryInfo::new(HomeserverInfo::new(url)));
    answer(response)
}

async fn with_password(call: &Call, mut request: Request) -> Result<LoggedIn, Error> {
    let device = request.device();
    let Some(named) = uia::named(&call.engine, &request.rest).await? else {
        return Err(Error::missing_param("There is no identifier of a type that is known"));
    };
    let password = request.password.ok_or_else(|| Error::missing_param("There is no password"))?;
    if call.door.settings.rate_limits {
        attempts::count_password(&call.engine, call.client_ip(), &named).await?;
    }
    Ok(login::with_password(&call.engine, &named, password, device).await?)
}

async fn with_token(call: &Call, mut request: Request) -> Result<LoggedIn, Error> {
    let device = request.device();
    let token = request.token.ok_or_else(|| Error::missing_param("There is no token"))?;
    if call.door.settings.rate_limits {
        let kind = attempts::Kind::AddressPasswords;
        attempts::count_address(&call.engine, kind, call.client_ip()).await?;
    }
    Ok(login::with_token(&call.engine, &token, device).await?)
}

/// An application service logs in as one of its users.
///
/// <https://spec.matrix.org/v1.19/application-service-api/#server-admin-style-permissions>
async fn by_service(call: &Call, mut request: Request) -> Result<LoggedIn, Error> {
    let service = call.required_appservice()?;
    let device = request.device();
    let Some(named) = uia::named(&call.engine, &request.rest).await? else {
        return Err(Error::missing_param("There is no identifier of a type that is known"));
    };
    Ok(login::by_service(&call.engine, &service, &named.user, device).await?)
}

impl Request {
    /// The device that the client wants, taken out of the request.
    fn device(&mut self) -> NewDevice {
        NewDevice {
            device_id: self.device_id.take(),
            display_name: self.initial_device_display_name.take(),
            refreshable: self.refresh_token,
        }
    }
}

#[cfg(test)]
mod tests {
    use http::StatusCode;
    use serde_json::{Value, json};

    use crate::{
        Settings,
        testing::{TestDoor, TestUser},
    };

    const PATH: &str = "/_matrix/client/v3/login";
    const WHOAMI: &str = "/_matrix/client/v3/account/whoami";

    fn password(user: &str, password: &str) -> Value {
        let identifier = json!({ "type": "m.id.user", "user": user });
        json!({ "type": "m.login.password", "identifier": identifier, "password": password })
    }

    #[tokio::test]
    async fn offers_passwords() {
        let flows = TestDoor::new().await.get_anonymous(PATH).await.ok();
        assert_eq!(flows["flows"], json!([{ "type": "m.login.password" }]));
    }

    #[tokio::test]
    async fn a_password_logs_in_by_name_and_by_id() {
        let door = TestDoor::new().await;
        door.register("alice").await;
        let old = json!({ "type": "m.login.password", "user": "alice", "password": "secret" });
        for body in [password("alice", "secret"), password("@alice:test", "secret"), old] {
            let answer = door.post_anonymous(PATH, body).await.ok();
            door.get(WHOAMI, &TestUser::from_answer(&answer)).await.ok();
        }
    }

    #[tokio::test]
    async fn wrong_passwords_and_unknown_users_look_the_same() {
        let door = TestDoor::new().await;
        door.register("alice").await;
        let mut answers = Vec::new();
        for body in [password("alice", "wrong"), password("bob", "secret"), password("alice", "")] {
            let answer = door.post_anonymous(PATH, body).await;
            answer.refused(StatusCode::FORBIDDEN, "M_FORBIDDEN");
            answers.push(answer.body);
        }
        assert!(answers.iter().all(|answer| *answer == answers[0]));
    }

    #[tokio::test]
    async fn a_known_device_gets_new_tokens_and_keeps_its_name() {
        let door = TestDoor::new().await;
        let alice = door.register("alice").await;
        let mut body = password("alice", "secret");
        body["device_id"] = json!(alice.device_id);
        body["initial_device_display_name"] = json!("another");
        let again = TestUser::from_answer(&door.post_anonymous(PATH, body).await.ok());
        assert_eq!(again.device_id, alice.device_id);
        door.get(WHOAMI, &alice).await.refused(StatusCode::UNAUTHORIZED, "M_UNKNOWN_TOKEN");
        let devices = door.get("/_matrix/client/v3/devices", &again).await.ok();
        assert_eq!(devices["devices"].as_array().unwrap().len(), 1);
        assert_eq!(devices["devices"][0]["display_name"], Value::Null);
    }

    #[tokio::test]
    async fn other_ways_to_log_in_are_refused() {
        let door = TestDoor::new().await;
        for (body, errcode) in [
            (json!({ "type": "m.login.token", "token": "x" }), "M_UNKNOWN"),
            (json!({ "type": "org.example" }), "M_UNKNOWN"),
            (json!({ "type": "m.login.password", "password": "x" }), "M_MISSING_PARAM"),
            (json!({}), "M_MISSING_PARAM"),
        ] {
            let answer = door.post_anonymous(PATH, body).await;
            answer.refused(StatusCode::BAD_REQUEST, errcode);
        }
    }

    #[tokio::test]
    async fn guessing_is_slowed_down_for_an_account_whatever_it_is_called() {
        let door = TestDoor::with(Settings { rate_limits: true, ..Settings::default() }).await;
        door.register("alice").await;
        for name in ["alice", "@alice:test", "ALICE", "alice", "alice"].iter().cycle().take(10) {
            let answer = door.post_anonymous(PATH, password(name, "wrong")).await;
            answer.refused(StatusCode::FORBIDDEN, "M_FORBIDDEN");
        }
        let answer = door.post_anonymous(PATH, password("alice", "secret")).await;
        answer.refused(StatusCode::TOO_MANY_REQUESTS, "M_LIMIT_EXCEEDED");
    }
}
