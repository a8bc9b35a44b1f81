//! POST /_matrix/client/v3/keys/device_signing/upload

use serde_json::{Value, json};
use starling_conformance::client::{Answer, PASSWORD, User};

use super::{
    query,
    signing::{Keys, Pair},
};
use crate::support;

pub(crate) const PATH: &str = "/_matrix/client/v3/keys/device_signing/upload";

async fn upload(user: &User, body: &Value) -> Answer {
    user.api.post(PATH, body.clone()).await.unwrap()
}

/// The same with the password.
async fn upload_proved(user: &User, body: &Value) -> Answer {
    let wanted = upload(user, body).await.expect_status(401).unwrap();
    assert!(wanted.body["flows"].is_array(), "{wanted:?}");
    let mut body = body.clone();
    body["auth"] = json!({
        "type": "m.login.password",
        "identifier": { "type": "m.id.user", "user": user.id },
        "password": PASSWORD,
        "session": wanted.body["session"],
    });
    upload(user, &body).await
}

#[tokio::test]
async fn the_first_keys_need_no_proof_and_others_do() {
    let (alice, bob) = (support::user("alice").await, support::user("bob").await);
    let keys = Keys::new(1);
    let body = keys.upload(&alice);
    for _ in 0..2 {
        upload(&alice, &body).await.ok().unwrap();
    }
    let found = query(&alice, &alice.id).await;
    assert_eq!(found["master_keys"][&alice.id], body["master_key"]);
    assert_eq!(found["self_signing_keys"][&alice.id], body["self_signing_key"]);
    assert_eq!(found["user_signing_keys"][&alice.id], body["user_signing_key"]);
    let found = query(&bob, &alice.id).await;
    assert_eq!(found["master_keys"][&alice.id], body["master_key"]);
    assert!(found.get("user_signing_keys").is_none(), "{found}");
    let other = Keys::new(11).upload(&alice);
    upload_proved(&alice, &other).await.ok().unwrap();
    let found = query(&bob, &alice.id).await;
    assert_eq!(found["master_keys"][&alice.id], other["master_key"]);
}

#[tokio::test]
async fn a_key_that_is_added_needs_a_proof() {
    let alice = support::user("alice").await;
    let keys = Keys::new(1);
    let all = keys.upload(&alice);
    let body = json!({ "self_signing_key": all["self_signing_key"] });
    upload(&alice, &body).await.expect_error(400, "M_MISSING_PARAM").unwrap();
    upload(&alice, &json!({ "master_key": all["master_key"] })).await.ok().unwrap();
    upload_proved(&alice, &body).await.ok().unwrap();
    let found = query(&alice, &alice.id).await;
    assert_eq!(found["self_signing_keys"][&alice.id], all["self_signing_key"]);
    // Those of the old master key are worth nothing by the new one.
    let new = json!({ "master_key": Keys::new(11).upload(&alice)["master_key"] });
    upload_proved(&alice, &new).await.ok().unwrap();
    let found = query(&alice, &alice.id).await;
    assert!(found.get("self_signing_keys").is_none(), "{found}");
}

#[tokio::test]
async fn what_is_no_key_or_not_signed_is_refused() {
    let (alice, bob) = (support::user("alice").await, support::user("bob").await);
    let keys = Keys::new(1);
    let good = keys.upload(&alice);
    let mut unsigned = good.clone();
    unsigned["self_signing_key"].as_object_mut().unwrap().remove("signatures");
    upload(&alice, &unsigned).await.expect_error(400, "M_INVALID_SIGNATURE").unwrap();
    let mut wrong = good.clone();
    let name = format!("ed25519:{}", keys.master.public());
    wrong["user_signing_key"]["signatures"][&alice.id][name] = "A".repeat(86).into();
    upload(&alice, &wrong).await.expect_error(400, "M_INVALID_SIGNATURE").unwrap();
    let foreign = keys.upload(&bob);
    upload(&alice, &foreign).await.expect_error(400, "M_INVALID_PARAM").unwrap();
    for (field, value) in [
        ("usage", json!(["self_signing"])),
        ("usage", json!("master")),
        ("keys", json!({})),
        ("keys", json!({ "ed25519:abc": "def" })),
        ("keys", json!({ "ed25519:abc": "abc" })),
        ("user_id", json!(7)),
        ("signatures", json!([])),
    ] {
        let mut malformed = good.clone();
        malformed["master_key"][field] = value;
        let answer = upload(&alice, &malformed).await;
        assert_eq!(answer.status, 400, "{field}: {answer:?}");
    }
    assert!(query(&alice, &alice.id).await.get("master_keys").is_none());
    let anonymous = support::anonymous().await.post(PATH, good).await.unwrap();
    anonymous.expect_error(401, "M_MISSING_TOKEN").unwrap();
}

#[tokio::test]
async fn no_key_has_the_name_of_a_device() {
    let alice = support::user("alice").await;
    let pair = Pair::new(7);
    let body = json!({
        "type": "m.login.password",
        "identifier": { "type": "m.id.user", "user": alice.id },
        "password": PASSWORD,
        "device_id": pair.public(),
    });
    alice.api.post("/_matrix/client/v3/login", body).await.unwrap().ok().unwrap();
    let answer = upload(&alice, &json!({ "master_key": pair.key(&alice, "master") })).await;
    answer.expect_error(403, "M_FORBIDDEN").unwrap();
}
