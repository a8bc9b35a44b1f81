//! GET /_synapse/admin/v1/register
//! POST /_synapse/admin/v1/register

use serde::Deserialize;
use serde_json::json;
use starling_engine::accounts::{
    admin::{self, BySecret},
    devices::NewDevice,
};

use crate::{
    answer::{self, Answer},
    call::Call,
    limits::Doing,
};

#[derive(Deserialize)]
struct Request {
    nonce: String,
    username: String,
    password: String,
    #[serde(default)]
    admin: bool,
    user_type: Option<String>,
    displayname: Option<String>,
    mac: String,
    #[serde(default)]
    inhibit_login: bool,
}

pub(crate) async fn get(call: Call) -> Answer {
    call.door.limits.address(Doing::Account, call.client_ip())?;
    let nonce = admin::nonce(&call.engine).await?;
    answer::json(&json!({ "nonce": nonce }))
}

pub(crate) async fn post(mut call: Call) -> Answer {
    call.door.limits.address(Doing::Account, call.client_ip())?;
    if !admin::has_secret(&call.engine) {
        return Err(admin::BySecretError::Disabled.into());
    }
    let request: Request = call.body_as().await?;
    let registered = admin::register_by_secret(&call.engine, by_secret(request)).await?;
    let mut body = json!({
        "user_id": registered.user_id,
        "home_server": call.engine.config.server_name,
    });
    if let Some((device_id, tokens)) = registered.device {
        body["device_id"] = json!(device_id);
        body["access_token"] = json!(tokens.access_token);
    }
    answer::json(&body)
}

fn by_secret(request: Request) -> BySecret {
    BySecret {
        nonce: request.nonce,
        username: request.username,
        password: request.password,
        admin: request.admin,
        user_type: request.user_type,
        display_name: request.displayname,
        mac: request.mac,
        device: (!request.inhibit_login).then(NewDevice::default),
    }
}

#[cfg(test)]
mod tests {
    use hmac::{Hmac, KeyInit as _, Mac as _};
    use http::StatusCode;
    use serde_json::{Value, json};
    use sha1::Sha1;
    use starling_engine::testing::{TestEngine, config};

    use crate::{
        Settings,
        testing::{TestDoor, TestUser},
    };

    const PATH: &str = "/_synapse/admin/v1/register";

    async fn door(secret: Option<&str>) -> TestDoor {
        let mut config = config(ruma::server_name!("test"));
        config.registration.shared_secret = secret.map(str::to_owned);
        TestDoor::over(TestEngine::with(config).await.unwrap(), Settings::default())
    }

    fn signed(secret: &str, nonce: &Value, name: &str, admin: bool) -> Value {
        let nonce = nonce.as_str().unwrap();
        let role = if admin { "admin" } else { "notadmin" };
        let mut mac = Hmac::<Sha1>::new_from_slice(secret.as_bytes()).unwrap();
        mac.update([nonce, name, "secret", role].join("\0").as_bytes());
        let bytes = mac.finalize().into_bytes();
        let mac: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        json!({ "nonce": nonce, "username": name, "password": "secret", "admin": admin,
                "mac": mac })
    }

    #[tokio::test]
    async fn without_a_secret_there_is_nothing_here() {
        for secret in [None, Some("")] {
            let door = door(secret).await;
            door.get_anonymous(PATH).await.refused(StatusCode::NOT_FOUND, "M_UNRECOGNIZED");
            let answer = door.post_anonymous(PATH, json!({})).await;
            answer.refused(StatusCode::NOT_FOUND, "M_UNRECOGNIZED");
        }
    }

    #[tokio::test]
    async fn who_knows_the_secret_makes_accounts() {
        let door = door(Some("s3cret")).await;
        let nonce = door.get_anonymous(PATH).await.ok()["nonce"].clone();
        let forged = signed("guess", &nonce, "alice", true);
        door.post_anonymous(PATH, forged).await.refused(StatusCode::FORBIDDEN, "M_FORBIDDEN");
        let mut raised = signed("s3cret", &nonce, "alice", false);
        raised["admin"] = json!(true);
        door.post_anonymous(PATH, raised).await.refused(StatusCode::FORBIDDEN, "M_FORBIDDEN");
        let body = signed("s3cret", &nonce, "alice", true);
        let answer = door.post_anonymous(PATH, body).await.ok();
        let alice = TestUser::from_answer(&answer);
        assert_eq!(alice.user_id, "@alice:test");
        door.get("/_matrix/client/v3/account/whoami", &alice).await.ok();
        let body = signed("s3cret", &nonce, "bob", false);
        door.post_anonymous(PATH, body).await.refused(StatusCode::BAD_REQUEST, "M_UNKNOWN");
    }

    #[tokio::test]
    async fn nonces_grow_old() {
        let door = door(Some("s3cret")).await;
        let nonce = door.get_anonymous(PATH).await.ok()["nonce"].clone();
        door.test.clock.advance(60_000);
        let body = signed("s3cret", &nonce, "alice", false);
        door.post_anonymous(PATH, body).await.refused(StatusCode::BAD_REQUEST, "M_UNKNOWN");
    }
}
