//! GET /_matrix/client/v3/login
//! POST /_matrix/client/v3/login

use serde_json::{Value, json};
use starling_conformance::client::{PASSWORD, text};

use crate::support;

const LOGIN: &str = "/_matrix/client/v3/login";

fn with_password(user: &str, password: &str) -> Value {
    let identifier = json!({ "type": "m.id.user", "user": user });
    json!({ "type": "m.login.password", "identifier": identifier, "password": password })
}

#[tokio::test]
async fn passwords_are_offered() {
    let flows = support::anonymous().await.get(LOGIN).await.unwrap().ok().unwrap();
    let flows = flows["flows"].as_array().unwrap();
    assert!(flows.iter().any(|flow| flow["type"] == "m.login.password"), "{flows:?}");
}

#[tokio::test]
async fn each_log_in_is_a_device_of_its_own() {
    let alice = support::user("alice").await;
    let second = alice.login().await.unwrap();
    assert_ne!(second.device, alice.device);
    for user in [&alice, &second] {
        user.api.get("/_matrix/client/v3/account/whoami").await.unwrap().ok().unwrap();
    }
}

#[tokio::test]
async fn a_device_that_logs_in_again_loses_its_old_token() {
    let alice = support::user("alice").await;
    let mut body = with_password(&alice.id, PASSWORD);
    body["device_id"] = json!(alice.device);
    let answer = support::anonymous().await.post(LOGIN, body).await.unwrap().ok().unwrap();
    assert_eq!(text(&answer, "/device_id").unwrap(), alice.device);
    let whoami = alice.api.get("/_matrix/client/v3/account/whoami").await.unwrap();
    whoami.expect_error(401, "M_UNKNOWN_TOKEN").unwrap();
}

#[tokio::test]
async fn a_wrong_password_and_an_unknown_user_are_told_alike() {
    let alice = support::user("alice").await;
    let api = support::anonymous().await;
    let wrong = api.post(LOGIN, with_password(&alice.id, "wrong")).await.unwrap();
    let nobody = api.post(LOGIN, with_password("nobody-at-all", PASSWORD)).await.unwrap();
    let wrong = wrong.expect_error(403, "M_FORBIDDEN").unwrap();
    assert_eq!(nobody.expect_error(403, "M_FORBIDDEN").unwrap(), wrong);
}

#[tokio::test]
async fn a_body_without_a_type_is_refused() {
    let answer = support::anonymous().await.post(LOGIN, json!({})).await.unwrap();
    assert_eq!(answer.status, 400, "{answer:?}");
}
