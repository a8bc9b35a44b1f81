//! POST /_matrix/client/v3/keys/query

use serde_json::json;
use starling_conformance::client::path;

use super::{device_keys, query, upload};
use crate::support;

const PATH: &str = "/_matrix/client/v3/keys/query";

#[tokio::test]
async fn devices_are_shown_with_their_names_and_others_are_left_out() {
    let (alice, bob) = (support::user("alice").await, support::user("bob").await);
    let second = alice.login().await.unwrap();
    let keys = device_keys(&alice, "a");
    upload(&alice, json!({ "device_keys": keys })).await;
    upload(&second, json!({ "device_keys": device_keys(&second, "b") })).await;
    let device = path("/_matrix/client/v3/devices/{}", &[&alice.device]);
    alice.api.put(&device, json!({ "display_name": "the desk" })).await.unwrap().ok().unwrap();
    let found = query(&bob, &alice.id).await;
    let devices = found["device_keys"][&alice.id].as_object().unwrap();
    assert_eq!(devices.len(), 2);
    let mut wanted = keys.clone();
    wanted["unsigned"] = json!({ "device_display_name": "the desk" });
    assert_eq!(devices[&alice.device], wanted);
    let one = json!({ "device_keys": { &alice.id: [second.device] } });
    let found = bob.api.post(PATH, one).await.unwrap().ok().unwrap();
    let devices = found["device_keys"][&alice.id].as_object().unwrap();
    assert_eq!(devices.keys().collect::<Vec<_>>(), [&second.device]);
    assert_eq!(query(&alice, &bob.id).await["device_keys"][&bob.id], json!({}));
}

#[tokio::test]
async fn devices_that_are_gone_are_not_shown() {
    let alice = support::user("alice").await;
    let second = alice.login().await.unwrap();
    upload(&second, json!({ "device_keys": device_keys(&second, "b") })).await;
    second.api.post("/_matrix/client/v3/logout", json!({})).await.unwrap().ok().unwrap();
    assert_eq!(query(&alice, &alice.id).await["device_keys"][&alice.id], json!({}));
}

#[tokio::test]
async fn a_list_of_devices_is_a_list() {
    let alice = support::user("alice").await;
    for wrong in [json!({ "DEVICE": true }), json!("DEVICE"), json!([7]), json!(null)] {
        let body = json!({ "device_keys": { &alice.id: wrong } });
        let answer = alice.api.post(PATH, body).await.unwrap();
        answer.expect_error(400, "M_BAD_JSON").unwrap();
    }
    alice.api.post(PATH, json!({})).await.unwrap().expect_error(400, "M_MISSING_PARAM").unwrap();
    let anonymous = support::anonymous().await.post(PATH, json!({})).await.unwrap();
    anonymous.expect_error(401, "M_MISSING_TOKEN").unwrap();
}

#[tokio::test]
async fn a_server_that_cannot_be_reached_is_named() {
    let alice = support::user("alice").await;
    let server = "localhost:1";
    let body = json!({ "timeout": 1000, "device_keys": { format!("@bob:{server}"): [] } });
    let answer = alice.api.post(PATH, body).await.unwrap().ok().unwrap();
    assert!(answer["failures"].get(server).is_some(), "{answer}");
}
