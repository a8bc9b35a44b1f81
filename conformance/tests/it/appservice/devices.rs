//! Devices that an application service makes and removes, without anybody logging in.

use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use http::Method;
use serde_json::json;
use starling_conformance::appservice::acting_for;

use super::scene;

const DEVICES: &str = "/_matrix/client/v3/devices";

#[tokio::test]
async fn devices_come_and_go_as_an_application_service_says() {
    let scene = scene().await;
    let api = scene.bridge.api(&scene.server).unwrap();
    let ghost = scene.bridge.register(&scene.server, "a").await.unwrap();
    let acting = acting_for(&ghost);
    let device = |id: &str| format!("{DEVICES}/{id}?{acting}");
    let named = |name: &str| json!({ "display_name": name });
    let made = api.put(&device("ONE"), named("desk")).await.unwrap();
    assert_eq!(made.expect_status(201).unwrap().body, json!({}));
    let renamed = api.put(&device("ONE"), named("phone")).await.unwrap();
    assert_eq!((renamed.status, renamed.body), (200, json!({})));
    let one = api.get(&device("ONE")).await.unwrap().ok().unwrap();
    assert_eq!(one["display_name"], "phone");
    for id in ["TWO", "THREE"] {
        assert_eq!(api.put(&device(id), json!({})).await.unwrap().status, 201);
    }
    let long = api.put(&device(&"X".repeat(256)), json!({})).await.unwrap();
    long.expect_error(400, "M_INVALID_PARAM").unwrap();
    // No password is asked for, as there is none.
    api.request(Method::DELETE, &device("ONE"), Some(&json!({}))).await.unwrap().ok().unwrap();
    api.get(&device("ONE")).await.unwrap().expect_error(404, "M_NOT_FOUND").unwrap();
    let several = format!("/_matrix/client/v3/delete_devices?{acting}");
    api.post(&several, json!({ "devices": ["TWO", "THREE"] })).await.unwrap().ok().unwrap();
    let left = api.get(&format!("{DEVICES}?{acting}")).await.unwrap().ok().unwrap();
    assert_eq!(left, json!({ "devices": [] }));
}

#[tokio::test]
async fn keys_are_uploaded_for_a_device_and_replaced_without_a_password() {
    let scene = scene().await;
    let api = scene.bridge.api(&scene.server).unwrap();
    let ghost = scene.bridge.register(&scene.server, "a").await.unwrap();
    let acting = acting_for(&ghost);
    let upload = format!("/_matrix/client/v3/keys/upload?{acting}");
    let answer = api.post(&upload, json!({})).await.unwrap();
    answer.expect_error(400, "M_MISSING_PARAM").unwrap();
    assert_eq!(api.put(&format!("{DEVICES}/ONE?{acting}"), json!({})).await.unwrap().status, 201);
    let answer = api.post(&format!("{upload}&device_id=ONE"), json!({})).await.unwrap();
    answer.ok().unwrap();
    // Each of the two replaces what was there.
    for seed in [7, 8] {
        let key = ed25519_dalek::SigningKey::from_bytes(&[seed; 32]).verifying_key();
        let key = STANDARD_NO_PAD.encode(key.as_bytes());
        let keys = json!({ format!("ed25519:{key}"): key });
        let master = json!({ "user_id": ghost, "usage": ["master"], "keys": keys });
        let path = format!("/_matrix/client/v3/keys/device_signing/upload?{acting}");
        api.post(&path, json!({ "master_key": master })).await.unwrap().ok().unwrap();
    }
}
