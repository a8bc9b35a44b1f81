//! POST /_matrix/client/v3/keys/claim

use std::collections::BTreeSet;

use futures_util::future::join_all;
use serde_json::json;

use super::{claim, fallback_key, one_time_keys, upload};
use crate::support;

#[tokio::test]
async fn keys_are_handed_out_once_in_the_order_of_their_upload_and_then_the_fallback_key() {
    let (alice, bob) = (support::user("alice").await, support::user("bob").await);
    upload(&alice, json!({ "one_time_keys": one_time_keys(&["2"]) })).await;
    upload(&alice, json!({ "one_time_keys": one_time_keys(&["1"]) })).await;
    upload(&alice, json!({ "fallback_keys": fallback_key("E") })).await;
    upload(&alice, json!({ "fallback_keys": fallback_key("F") })).await;
    let names = ["2", "1", "F", "F"].map(|name| format!("signed_curve25519:{name}"));
    for name in names {
        let (claimed, key) = claim(&bob, &alice).await.unwrap();
        assert_eq!(claimed, name);
        assert_eq!(key.get("fallback").is_some(), name.ends_with('F'), "{key}");
    }
}

#[tokio::test]
async fn of_a_hundred_who_claim_at_once_each_gets_a_key_of_their_own() {
    let (alice, bob) = (support::user("alice").await, support::user("bob").await);
    let names: Vec<String> = (0..100).map(|number| format!("{number:03}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    upload(&alice, json!({ "one_time_keys": one_time_keys(&names) })).await;
    let claimed = join_all((0..100).map(|_| claim(&bob, &alice))).await;
    let claimed: BTreeSet<String> = claimed.into_iter().map(|key| key.unwrap().0).collect();
    assert_eq!(claimed.len(), 100);
    assert_eq!(claim(&bob, &alice).await, None);
}

#[tokio::test]
async fn keys_go_with_their_device() {
    let (alice, bob) = (support::user("alice").await, support::user("bob").await);
    let second = alice.login().await.unwrap();
    let body =
        json!({ "one_time_keys": one_time_keys(&["A"]), "fallback_keys": fallback_key("F") });
    upload(&second, body).await;
    second.api.post("/_matrix/client/v3/logout", json!({})).await.unwrap().ok().unwrap();
    assert_eq!(claim(&bob, &second).await, None);
}

#[tokio::test]
async fn a_server_that_cannot_be_reached_is_named() {
    let alice = support::user("alice").await;
    let server = "localhost:1";
    let body = json!({ "timeout": 1000, "one_time_keys": {
        format!("@bob:{server}"): { "DEVICE": "signed_curve25519" }
    } });
    let path = "/_matrix/client/v3/keys/claim";
    let answer = alice.api.post(path, body).await.unwrap().ok().unwrap();
    assert_eq!(answer["one_time_keys"], json!({}));
    assert!(answer["failures"].get(server).is_some(), "{answer}");
    for wrong in [json!({}), json!({ "one_time_keys": { "nobody": {} } })] {
        let answer = alice.api.post(path, wrong).await.unwrap();
        assert_eq!(answer.status, 400, "{answer:?}");
    }
    let anonymous = support::anonymous().await.post(path, json!({})).await.unwrap();
    anonymous.expect_error(401, "M_MISSING_TOKEN").unwrap();
}
