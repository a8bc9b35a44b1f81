//! GET /_matrix/client/v3/devices
//! GET /_matrix/client/v3/devices/{deviceId}
//! PUT /_matrix/client/v3/devices/{deviceId}
//! DELETE /_matrix/client/v3/devices/{deviceId}

use http::Method;
use serde_json::json;
use starling_conformance::client::{PASSWORD, path};

use crate::support;

#[tokio::test]
async fn devices_have_names() {
    let alice = support::user("alice").await;
    let device = path("/_matrix/client/v3/devices/{}", &[&alice.device]);
    let body = json!({ "display_name": "the desk" });
    alice.api.put(&device, body).await.unwrap().ok().unwrap();
    let found = alice.api.get(&device).await.unwrap().ok().unwrap();
    assert_eq!(found["display_name"], "the desk");
    let all = alice.api.get("/_matrix/client/v3/devices").await.unwrap().ok().unwrap();
    assert_eq!(all["devices"].as_array().unwrap().len(), 1, "{all}");
}

#[tokio::test]
async fn a_device_of_somebody_else_does_not_exist() {
    let alice = support::user("alice").await;
    let bob = support::user("bob").await;
    let device = path("/_matrix/client/v3/devices/{}", &[&alice.device]);
    bob.api.get(&device).await.unwrap().expect_error(404, "M_NOT_FOUND").unwrap();
    let renamed = bob.api.put(&device, json!({ "display_name": "mine" })).await.unwrap();
    renamed.expect_error(404, "M_NOT_FOUND").unwrap();
}

#[tokio::test]
async fn a_device_is_removed_by_password() {
    let alice = support::user("alice").await;
    let second = alice.login().await.unwrap();
    let device = path("/_matrix/client/v3/devices/{}", &[&second.device]);
    let wanted = alice.api.request(Method::DELETE, &device, Some(&json!({}))).await.unwrap();
    let wanted = wanted.expect_status(401).unwrap();
    let identifier = json!({ "type": "m.id.user", "user": alice.id });
    let auth = json!({ "type": "m.login.password", "identifier": identifier,
                       "password": PASSWORD, "session": wanted.body["session"] });
    let body = json!({ "auth": auth });
    alice.api.request(Method::DELETE, &device, Some(&body)).await.unwrap().ok().unwrap();
    let whoami = second.api.get("/_matrix/client/v3/account/whoami").await.unwrap();
    whoami.expect_error(401, "M_UNKNOWN_TOKEN").unwrap();
}

#[tokio::test]
async fn the_password_of_another_account_is_forbidden() {
    let (alice, bob) = (support::user("alice").await, support::user("bob").await);
    let device = path("/_matrix/client/v3/devices/{}", &[&alice.device]);
    let wanted = alice.api.request(Method::DELETE, &device, Some(&json!({}))).await.unwrap();
    let identifier = json!({ "type": "m.id.user", "user": bob.id });
    let auth = json!({ "type": "m.login.password", "identifier": identifier,
                       "password": PASSWORD, "session": wanted.body["session"] });
    let body = json!({ "auth": auth });
    let answer = alice.api.request(Method::DELETE, &device, Some(&body)).await.unwrap();
    answer.expect_error(403, "M_FORBIDDEN").unwrap();
}
