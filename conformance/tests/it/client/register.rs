//! POST /_matrix/client/v3/register

mod available;
mod m_login_registration_token;

use serde_json::json;
use starling_conformance::{client::PASSWORD, random};

use crate::support;

#[tokio::test]
async fn asks_for_a_stage_first() {
    let body =
        json!({ "username": format!("a-{}", random::suffix().unwrap()), "password": PASSWORD });
    let api = support::anonymous().await;
    let answer = api.post("/_matrix/client/v3/register", body).await.unwrap();
    assert_eq!(answer.status, 401, "{answer:?}");
    assert!(answer.body["session"].is_string(), "{answer:?}");
    assert!(!answer.body["flows"].as_array().unwrap().is_empty(), "{answer:?}");
}

#[tokio::test]
async fn the_new_account_is_logged_in() {
    let alice = support::user("alice").await;
    let body = alice.api.get("/_matrix/client/v3/account/whoami").await.unwrap().ok().unwrap();
    assert_eq!(body["user_id"], alice.id.as_str());
    assert_eq!(body["device_id"], alice.device.as_str());
}

#[tokio::test]
async fn a_name_is_given_once() {
    let alice = support::user("alice").await;
    let name = alice.id.trim_start_matches('@').split(':').next().unwrap();
    let body = json!({ "username": name, "password": PASSWORD });
    let answer = support::anonymous().await.register(body).await.unwrap();
    answer.expect_error(400, "M_USER_IN_USE").unwrap();
}

#[tokio::test]
async fn an_invalid_name_is_refused() {
    let body = json!({ "username": "no spaces, please", "password": PASSWORD });
    let answer = support::anonymous().await.register(body).await.unwrap();
    answer.expect_error(400, "M_INVALID_USERNAME").unwrap();
}
