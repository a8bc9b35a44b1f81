//! POST /_matrix/client/v3/keys/signatures/upload

use serde_json::{Value, json};
use starling_conformance::client::{Sync, User};

use super::{
    device_signing, query,
    signing::{Keys, Pair},
    upload,
};
use crate::support;

const PATH: &str = "/_matrix/client/v3/keys/signatures/upload";

/// Signs, and gives back what failed.
async fn sign(user: &User, signed: Value) -> Value {
    let answer = user.api.post(PATH, signed).await.unwrap().ok().unwrap();
    answer["failures"].clone()
}

async fn with_keys(name: &str, seed: u8) -> (User, Keys, Pair, Value) {
    let user = support::user(name).await;
    let (keys, device) = (Keys::new(seed), Pair::new(seed + 5));
    let mut device_keys = super::device_keys(&user, "x");
    device_keys["keys"] = json!({ format!("ed25519:{}", user.device): device.public() });
    device_keys["signatures"] = json!({});
    device.sign_as(&mut device_keys, &user.id, &user.device);
    upload(&user, json!({ "device_keys": device_keys })).await;
    let body = keys.upload(&user);
    user.api.post(device_signing::PATH, body).await.unwrap().ok().unwrap();
    (user, keys, device, device_keys)
}

#[tokio::test]
async fn a_user_signs_devices_and_a_device_the_master_key() {
    let (alice, keys, pair, mut device) = with_keys("alice", 1).await;
    let bob = support::user("bob").await;
    let mut master = keys.master.key(&alice, "master");
    keys.self_signing.sign(&mut device, &alice);
    pair.sign_as(&mut master, &alice.id, &alice.device);
    let signed = json!({ &alice.id: { &alice.device: device, keys.master.public(): master } });
    assert_eq!(sign(&alice, signed).await, json!({}));
    let found = query(&bob, &alice.id).await;
    let signatures = &found["device_keys"][&alice.id][&alice.device]["signatures"];
    assert_eq!(signatures, &device["signatures"]);
    assert_eq!(found["master_keys"][&alice.id]["signatures"], master["signatures"]);
    // A device that publishes its keys again keeps what was signed.
    let mut again = device.clone();
    let own = format!("ed25519:{}", alice.device);
    again["signatures"] = json!({ &alice.id: { &own: device["signatures"][&alice.id][&own] } });
    upload(&alice, json!({ "device_keys": again })).await;
    let found = query(&bob, &alice.id).await;
    let signatures = &found["device_keys"][&alice.id][&alice.device]["signatures"];
    assert_eq!(signatures, &device["signatures"]);
}

#[tokio::test]
async fn what_a_user_signs_of_others_only_they_see() {
    let (alice, keys, ..) = with_keys("alice", 1).await;
    let (bob, of_bob, ..) = with_keys("bob", 21).await;
    let carol = support::user("carol").await;
    let second = alice.login().await.unwrap();
    let mut sync = Sync::start(&second).await.unwrap();
    let mut master = of_bob.master.key(&bob, "master");
    keys.user_signing.sign(&mut master, &alice);
    let signed = json!({ &bob.id: { of_bob.master.public(): master } });
    assert_eq!(sign(&alice, signed).await, json!({}));
    let told = |answer: &Value| answer["device_lists"]["changed"] == json!([bob.id]);
    sync.until("that a key is signed", told).await.unwrap();
    let seen = |found: &Value| {
        found["master_keys"][&bob.id]["signatures"].get(&alice.id).cloned().unwrap_or_default()
    };
    assert_eq!(seen(&query(&second, &bob.id).await), master["signatures"][&alice.id]);
    for other in [&bob, &carol] {
        assert_eq!(seen(&query(other, &bob.id).await), Value::Null);
    }
}

#[tokio::test]
async fn each_signature_is_judged_by_itself() {
    let (alice, keys, pair, device) = with_keys("alice", 1).await;
    let (bob, of_bob, ..) = with_keys("bob", 21).await;
    let mut good = device.clone();
    keys.self_signing.sign(&mut good, &alice);
    let mut by_wrong_key = device.clone();
    keys.user_signing.sign(&mut by_wrong_key, &alice);
    let mut changed = device.clone();
    changed["algorithms"] = json!(["another"]);
    keys.self_signing.sign(&mut changed, &alice);
    let mut master = of_bob.master.key(&bob, "master");
    keys.self_signing.sign(&mut master, &alice);
    let unsigned = keys.master.key(&alice, "master");
    for (user, key, object, errcode) in [
        (&alice, alice.device.clone(), &by_wrong_key, "M_INVALID_SIGNATURE"),
        (&alice, alice.device.clone(), &changed, "M_INVALID_SIGNATURE"),
        (&alice, "NOWHERE".to_owned(), &good, "M_NOT_FOUND"),
        (&alice, alice.device.clone(), &json!(7), "M_BAD_JSON"),
        (&alice, keys.master.public(), &unsigned, "M_INVALID_SIGNATURE"),
        (&bob, of_bob.master.public(), &master, "M_INVALID_SIGNATURE"),
        (&bob, keys.master.public(), &master, "M_NOT_FOUND"),
    ] {
        let failures = sign(&alice, json!({ &user.id: { &key: object } })).await;
        assert_eq!(failures[&user.id][&key]["errcode"], errcode, "{key}: {failures}");
    }
    let mut of_nobody = good.clone();
    pair.sign(&mut of_nobody, &alice);
    let both = json!({ &alice.id: { &alice.device: good, "NOWHERE": of_nobody } });
    let failures = sign(&alice, both).await;
    assert_eq!(failures[&alice.id].as_object().unwrap().len(), 1, "{failures}");
    let found = query(&alice, &alice.id).await;
    let signatures = &found["device_keys"][&alice.id][&alice.device]["signatures"];
    assert_eq!(signatures, &good["signatures"]);
}

#[tokio::test]
async fn signatures_are_for_those_who_are_logged_in() {
    let alice = support::user("alice").await;
    let answer = alice.api.post(PATH, json!({ &alice.id: [] })).await.unwrap();
    answer.expect_error(400, "M_BAD_JSON").unwrap();
    let many = (0..501).map(|number| (number.to_string(), json!({})));
    let many: serde_json::Map<String, Value> = many.collect();
    let answer = alice.api.post(PATH, json!({ &alice.id: many })).await.unwrap();
    answer.expect_error(413, "M_TOO_LARGE").unwrap();
    let anonymous = support::anonymous().await.post(PATH, json!({})).await.unwrap();
    anonymous.expect_error(401, "M_MISSING_TOKEN").unwrap();
}
