//! GET /_matrix/client/v3/room_keys/version
//! POST /_matrix/client/v3/room_keys/version
//! DELETE /_matrix/client/v3/room_keys/version/{version}
//! GET /_matrix/client/v3/room_keys/version/{version}
//! PUT /_matrix/client/v3/room_keys/version/{version}

use serde_json::{Value, json};
use starling_conformance::client::{User, path};

use super::{VERSION, create};
use crate::support;

const ALGORITHM: &str = "m.megolm_backup.v1.curve25519-aes-sha2";

fn target(version: &str) -> String {
    path("/_matrix/client/v3/room_keys/version/{}", &[version])
}

async fn newest(user: &User) -> Value {
    user.api.get(VERSION).await.unwrap().ok().unwrap()
}

#[tokio::test]
async fn backups_are_made_changed_and_removed() {
    let alice = support::user("alice").await;
    alice.api.get(VERSION).await.unwrap().expect_error(404, "M_NOT_FOUND").unwrap();
    let first = create(&alice, 1).await;
    let second = create(&alice, 2).await;
    assert_ne!(first, second);
    let found = newest(&alice).await;
    assert_eq!(found["version"], second.as_str());
    assert_eq!(found["auth_data"], json!({ "n": 2 }));
    assert_eq!((&found["count"], &found["algorithm"]), (&json!(0), &json!(ALGORITHM)));
    assert!(found["etag"].is_string());
    let body = json!({ "algorithm": ALGORITHM, "auth_data": { "n": 3 }, "version": first });
    let answer = alice.api.put(&target(&first), body).await.unwrap().ok().unwrap();
    assert_eq!(answer, json!({}));
    let found = alice.api.get(&target(&first)).await.unwrap().ok().unwrap();
    assert_eq!(found["auth_data"], json!({ "n": 3 }));
    alice.api.delete(&target(&second)).await.unwrap().ok().unwrap();
    assert_eq!(newest(&alice).await["version"], first.as_str());
    let answer = alice.api.get(&target(&second)).await.unwrap();
    answer.expect_error(404, "M_NOT_FOUND").unwrap();
    let answer = alice.api.delete(&target(&second)).await.unwrap();
    answer.expect_error(404, "M_NOT_FOUND").unwrap();
    let third = create(&alice, 4).await;
    assert_ne!(third, second, "a number is given once");
    let bob = support::user("bob").await;
    let answer = bob.api.get(&target(&first)).await.unwrap();
    answer.expect_error(404, "M_NOT_FOUND").unwrap();
}

#[tokio::test]
async fn what_does_not_change_is_refused() {
    let alice = support::user("alice").await;
    let version = create(&alice, 1).await;
    for body in [
        json!({ "algorithm": "another", "auth_data": {} }),
        json!({ "algorithm": ALGORITHM, "auth_data": {}, "version": "another" }),
    ] {
        let answer = alice.api.put(&target(&version), body).await.unwrap();
        answer.expect_error(400, "M_INVALID_PARAM").unwrap();
    }
    let body = json!({ "algorithm": ALGORITHM, "auth_data": {} });
    for nothing in ["77", "x", "-1"] {
        let answer = alice.api.put(&target(nothing), body.clone()).await.unwrap();
        answer.expect_error(404, "M_NOT_FOUND").unwrap();
        let answer = alice.api.get(&target(nothing)).await.unwrap();
        answer.expect_error(404, "M_NOT_FOUND").unwrap();
    }
    for wrong in [
        json!({ "algorithm": ALGORITHM, "auth_data": 7 }),
        json!({ "algorithm": "",
        "auth_data": {} }),
    ] {
        let answer = alice.api.post(VERSION, wrong).await.unwrap();
        answer.expect_error(400, "M_BAD_JSON").unwrap();
    }
    let answer = alice.api.post(VERSION, json!({})).await.unwrap();
    answer.expect_error(400, "M_MISSING_PARAM").unwrap();
    let large = json!({ "algorithm": ALGORITHM, "auth_data": { "x": "x".repeat(70_000) } });
    alice.api.post(VERSION, large).await.unwrap().expect_error(413, "M_TOO_LARGE").unwrap();
    let anonymous = support::anonymous().await;
    anonymous.get(VERSION).await.unwrap().expect_error(401, "M_MISSING_TOKEN").unwrap();
    anonymous.post(VERSION, body).await.unwrap().expect_error(401, "M_MISSING_TOKEN").unwrap();
}

#[tokio::test]
async fn there_is_an_end_to_backups() {
    let alice = support::user("alice").await;
    for number in 0..100 {
        create(&alice, number).await;
    }
    let body = json!({ "algorithm": ALGORITHM, "auth_data": {} });
    alice.api.post(VERSION, body).await.unwrap().expect_error(413, "M_TOO_LARGE").unwrap();
}
