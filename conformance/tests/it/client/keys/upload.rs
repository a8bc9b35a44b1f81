//! POST /_matrix/client/v3/keys/upload

use std::time::Duration;

use serde_json::{Value, json};
use starling_conformance::client::Sync;

use super::{claim, device_keys, fallback_key, one_time_keys, query, upload};
use crate::support;

const PATH: &str = "/_matrix/client/v3/keys/upload";

#[tokio::test]
async fn what_is_uploaded_again_changes_nothing() {
    let alice = support::user("alice").await;
    let keys = device_keys(&alice, "a");
    let body = json!({ "device_keys": keys, "one_time_keys": one_time_keys(&["A", "B", "C"]) });
    for _ in 0..2 {
        let answer = upload(&alice, body.clone()).await;
        assert_eq!(answer["one_time_key_counts"], json!({ "signed_curve25519": 3 }));
    }
    let body = json!({ "one_time_keys": one_time_keys(&["B", "C", "D"]) });
    assert_eq!(upload(&alice, body).await["one_time_key_counts"]["signed_curve25519"], 4);
    let found = query(&alice, &alice.id).await;
    assert_eq!(found["device_keys"][&alice.id][&alice.device]["keys"], keys["keys"]);
    assert_eq!(upload(&alice, json!({})).await["one_time_key_counts"]["signed_curve25519"], 4);
}

/// Whether a device signed its keys is for clients to see, as they trust no server with it.
#[tokio::test]
async fn keys_of_a_device_are_published_as_they_are() {
    let alice = support::user("alice").await;
    for signatures in [json!({}), json!({ &alice.id: { "ed25519:X": "bm9uZQ" } })] {
        let mut keys = device_keys(&alice, "a");
        keys["keys"][format!("ed25519:{}", alice.device)] = json!(signatures.to_string());
        keys["signatures"] = signatures;
        upload(&alice, json!({ "device_keys": keys })).await;
        let found = query(&alice, &alice.id).await;
        let mut found = found["device_keys"][&alice.id][&alice.device].clone();
        found.as_object_mut().unwrap().remove("unsigned");
        assert_eq!(found, keys);
    }
}

#[tokio::test]
async fn a_key_that_was_handed_out_does_not_come_back() {
    let (alice, bob) = (support::user("alice").await, support::user("bob").await);
    let body = json!({ "one_time_keys": one_time_keys(&["A", "B"]) });
    upload(&alice, body.clone()).await;
    assert_eq!(claim(&bob, &alice).await.unwrap().0, "signed_curve25519:A");
    assert_eq!(upload(&alice, body).await["one_time_key_counts"]["signed_curve25519"], 1);
    assert_eq!(claim(&bob, &alice).await.unwrap().0, "signed_curve25519:B");
    assert_eq!(claim(&bob, &alice).await, None);
}

#[tokio::test]
async fn another_key_of_the_same_name_is_refused() {
    let alice = support::user("alice").await;
    upload(&alice, json!({ "one_time_keys": one_time_keys(&["A"]) })).await;
    let other = json!({ "one_time_keys": { "signed_curve25519:A": { "key": "another" } } });
    let answer = alice.api.post(PATH, other).await.unwrap();
    let refused = answer.expect_error(400, "M_INVALID_PARAM").unwrap();
    assert!(refused["error"].as_str().unwrap().contains("signed_curve25519:A"), "{refused}");
    assert_eq!(upload(&alice, json!({})).await["one_time_key_counts"]["signed_curve25519"], 1);
}

#[tokio::test]
async fn what_is_no_key_is_refused_and_leaves_nothing_behind() {
    let (alice, bob) = (support::user("alice").await, support::user("bob").await);
    let without = |field: &str| {
        let mut keys = device_keys(&alice, "a");
        keys.as_object_mut().unwrap().remove(field);
        keys
    };
    for wrong in [
        Value::Null,
        json!([]),
        without("algorithms"),
        without("keys"),
        without("signatures"),
        without("user_id"),
    ] {
        let body = json!({ "device_keys": wrong, "one_time_keys": one_time_keys(&["A"]) });
        let answer = alice.api.post(PATH, body).await.unwrap();
        answer.expect_error(400, "M_BAD_JSON").unwrap();
    }
    let foreign = json!({ "device_keys": device_keys(&bob, "b") });
    let answer = alice.api.post(PATH, foreign).await.unwrap();
    answer.expect_error(400, "M_INVALID_PARAM").unwrap();
    for wrong in [json!({ "nocolon": "a" }), json!({ "a:b": 7 }), json!({ "a:b": { "c": 1 } })] {
        for field in ["one_time_keys", "fallback_keys"] {
            let answer = alice.api.post(PATH, json!({ field: wrong })).await.unwrap();
            answer.expect_error(400, "M_BAD_JSON").unwrap();
        }
    }
    let large = json!({ "one_time_keys": { "a:b": "x".repeat(5_000) } });
    alice.api.post(PATH, large).await.unwrap().expect_error(413, "M_TOO_LARGE").unwrap();
    assert_eq!(upload(&alice, json!({})).await["one_time_key_counts"]["signed_curve25519"], 0);
    let found = query(&alice, &alice.id).await;
    assert_eq!(found["device_keys"][&alice.id], json!({}));
    let anonymous = support::anonymous().await.post(PATH, json!({})).await.unwrap();
    anonymous.expect_error(401, "M_MISSING_TOKEN").unwrap();
}

#[tokio::test]
async fn a_device_has_room_for_so_many_keys() {
    let alice = support::user("alice").await;
    let names: Vec<String> = (0..1_001).map(|number| number.to_string()).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let body = json!({ "one_time_keys": one_time_keys(&names) });
    alice.api.post(PATH, body).await.unwrap().expect_error(413, "M_TOO_LARGE").unwrap();
    upload(&alice, json!({ "one_time_keys": one_time_keys(&names[..1_000]) })).await;
}

#[tokio::test]
async fn sync_tells_what_is_left() {
    let (alice, bob) = (support::user("alice").await, support::user("bob").await);
    let mut sync = Sync::start(&alice).await.unwrap();
    let answer = sync.poll(Duration::ZERO).await.unwrap();
    assert_eq!(answer["device_one_time_keys_count"], json!({ "signed_curve25519": 0 }));
    assert_eq!(answer["device_unused_fallback_key_types"], json!([]));
    let body =
        json!({ "one_time_keys": one_time_keys(&["A"]), "fallback_keys": fallback_key("F") });
    upload(&alice, body).await;
    let answer = sync.poll(Duration::ZERO).await.unwrap();
    assert_eq!(answer["device_one_time_keys_count"], json!({ "signed_curve25519": 1 }));
    assert_eq!(answer["device_unused_fallback_key_types"], json!(["signed_curve25519"]));
    claim(&bob, &alice).await.unwrap();
    let answer = sync.poll(Duration::ZERO).await.unwrap();
    assert_eq!(answer["device_one_time_keys_count"], json!({ "signed_curve25519": 0 }));
    assert_eq!(answer["device_unused_fallback_key_types"], json!(["signed_curve25519"]));
    claim(&bob, &alice).await.unwrap();
    let answer = sync.poll(Duration::ZERO).await.unwrap();
    assert_eq!(answer["device_unused_fallback_key_types"], json!([]));
}
