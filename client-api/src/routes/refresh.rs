//! POST /_matrix/client/v3/refresh

use ruma::api::client::session::refresh_token::v3::{Request, Response};
use starling_engine::accounts::tokens;

use crate::{
    answer::{Answer, answer},
    call::Call,
    limits::Doing,
};

pub(crate) async fn post(mut call: Call) -> Answer {
    call.door.limits.address(Doing::Account, call.client_ip())?;
    let request: Request = call.parse().await?;
    let issued = tokens::refresh(&call.engine, &request.refresh_token).await?;
    let mut response = Response::new(issued.access_token);
    response.refresh_token = issued.refresh_token;
    response.expires_in_ms = issued.expires_in;
    answer(response)
}

#[cfg(test)]
mod tests {
    use http::StatusCode;
    use serde_json::{Value, json};

    use crate::testing::{TestAnswer, TestDoor, TestUser};

    const WHOAMI: &str = "/_matrix/client/v3/account/whoami";

    async fn register(door: &TestDoor) -> Value {
        let body = json!({ "username": "alice", "refresh_token": true,
                           "auth": { "type": "m.login.dummy" } });
        door.post_anonymous("/_matrix/client/v3/register", body).await.ok()
    }

    async fn refresh(door: &TestDoor, from: &Value) -> TestAnswer {
        let body = json!({ "refresh_token": from["refresh_token"] });
        door.post_anonymous("/_matrix/client/v3/refresh", body).await
    }

    async fn whoami(door: &TestDoor, tokens: &Value) -> TestAnswer {
        let user = TestUser {
            user_id: "@alice:test".try_into().unwrap(),
            device_id: "".into(),
            token: tokens["access_token"].as_str().unwrap().to_owned(),
        };
        door.get(WHOAMI, &user).await
    }

    #[tokio::test]
    async fn an_expired_token_is_a_soft_log_out_and_can_be_refreshed() {
        let door = TestDoor::new().await;
        let first = register(&door).await;
        let lifetime = first["expires_in_ms"].as_i64().unwrap();
        whoami(&door, &first).await.ok();
        door.test.clock.advance(lifetime);
        let answer = whoami(&door, &first).await;
        answer.refused(StatusCode::UNAUTHORIZED, "M_UNKNOWN_TOKEN");
        assert_eq!(answer.body["soft_logout"], true);
        let second = refresh(&door, &first).await.ok();
        whoami(&door, &second).await.ok();
    }

    #[tokio::test]
    async fn the_old_tokens_live_until_a_new_one_is_used() {
        let door = TestDoor::new().await;
        let first = register(&door).await;
        refresh(&door, &first).await.ok();
        whoami(&door, &first).await.ok();
        let second = refresh(&door, &first).await.ok();
        whoami(&door, &second).await.ok();
        whoami(&door, &first).await.refused(StatusCode::UNAUTHORIZED, "M_UNKNOWN_TOKEN");
    }

    #[tokio::test]
    async fn a_new_refresh_token_in_use_ends_the_old_one() {
        let door = TestDoor::new().await;
        let first = register(&door).await;
        let second = refresh(&door, &first).await.ok();
        let third = refresh(&door, &second).await.ok();
        whoami(&door, &third).await.ok();
        refresh(&door, &second).await.refused(StatusCode::UNAUTHORIZED, "M_UNKNOWN_TOKEN");
    }

    #[tokio::test]
    async fn a_dead_refresh_token_that_is_used_again_ends_the_session() {
        let door = TestDoor::new().await;
        let first = register(&door).await;
        let second = refresh(&door, &first).await.ok();
        whoami(&door, &second).await.ok();
        refresh(&door, &first).await.refused(StatusCode::UNAUTHORIZED, "M_UNKNOWN_TOKEN");
        whoami(&door, &second).await.refused(StatusCode::UNAUTHORIZED, "M_UNKNOWN_TOKEN");
        refresh(&door, &second).await.refused(StatusCode::UNAUTHORIZED, "M_UNKNOWN_TOKEN");
    }
}
