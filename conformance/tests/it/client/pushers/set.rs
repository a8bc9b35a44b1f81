//! POST /_matrix/client/v3/pushers/set

use serde_json::{Value, json};

use super::{SET, list, pusher, pushkeys, put};
use crate::support;

fn with(key: &str, value: Value) -> Value {
    let mut body = pusher("key");
    body[key] = value;
    body
}

#[tokio::test]
async fn a_pushkey_moves_to_who_sets_it_last() {
    let (alice, bob) = (support::user("alice").await, support::user("bob").await);
    let key = alice.id.clone();
    put(&alice, pusher(&key)).await;
    put(&alice, pusher("another")).await;
    let mut other_app = pusher(&key);
    other_app["app_id"] = json!("org.example.other");
    put(&alice, other_app).await;
    let mut too = pusher(&key);
    too["append"] = json!(true);
    put(&bob, too).await;
    assert_eq!(pushkeys(&alice).await.len(), 3);
    put(&bob, pusher(&key)).await;
    let mut left = pushkeys(&alice).await;
    left.sort();
    let mut wanted = [key.clone(), "another".to_owned()];
    wanted.sort();
    assert_eq!(left, wanted, "the other application's stays");
    let gone = json!({ "app_id": "org.example.app", "pushkey": key, "kind": null });
    put(&alice, gone.clone()).await;
    assert_eq!(pushkeys(&bob).await, [key.as_str()], "it is not Alice's to remove");
    put(&bob, gone).await;
    assert_eq!(pushkeys(&bob).await, [] as [&str; 0]);
}

#[tokio::test]
async fn setting_it_again_changes_it() {
    let alice = support::user("alice").await;
    put(&alice, pusher("key")).await;
    put(&alice, with("device_display_name", json!("A tablet"))).await;
    put(&alice, with("org.matrix.msc3881.enabled", json!(false))).await;
    let pushers = list(&alice).await;
    assert_eq!(pushers.len(), 1);
    assert_eq!(pushers[0]["org.matrix.msc3881.enabled"], false);
    assert_eq!(pushers[0]["device_display_name"], "A telephone");
}

#[tokio::test]
async fn what_is_missing_or_wrong_is_named() {
    let alice = support::user("alice").await;
    for key in
        ["app_id", "pushkey", "kind", "app_display_name", "device_display_name", "lang", "data"]
    {
        let mut body = pusher("key");
        body.as_object_mut().unwrap().remove(key);
        let answer = alice.api.post(SET, body).await.unwrap();
        let body = answer.expect_error(400, "M_MISSING_PARAM").unwrap();
        assert!(body["error"].as_str().unwrap().contains(key), "{body}");
    }
    let url = |url: &str| with("data", json!({ "url": url }));
    let here = "/_matrix/push/v1/notify";
    for (body, errcode) in [
        (with("data", json!({ "format": "event_id_only" })), "M_MISSING_PARAM"),
        (with("kind", json!("pigeon")), "M_INVALID_PARAM"),
        (with("app_id", json!("x".repeat(65))), "M_INVALID_PARAM"),
        (with("pushkey", json!("x".repeat(513))), "M_INVALID_PARAM"),
        (url("https://push.invalid/"), "M_INVALID_PARAM"),
        (url(&format!("https://push.invalid{here}/more")), "M_INVALID_PARAM"),
        (url(&format!("ftp://push.invalid{here}")), "M_INVALID_PARAM"),
        (url(here), "M_INVALID_PARAM"),
        (with("kind", json!(1)), "M_BAD_JSON"),
        (with("append", json!("yes")), "M_BAD_JSON"),
        (with("data", json!("x")), "M_BAD_JSON"),
    ] {
        let answer = alice.api.post(SET, body.clone()).await.unwrap();
        answer.expect_error(400, errcode).unwrap_or_else(|error| panic!("{body}: {error:#}"));
    }
    let gone = json!({ "pushkey": "key", "kind": null });
    let answer = alice.api.post(SET, gone).await.unwrap();
    answer.expect_error(400, "M_MISSING_PARAM").unwrap();
    assert_eq!(list(&alice).await, [] as [Value; 0]);
    let anonymous = support::anonymous().await;
    let answer = anonymous.post(SET, pusher("key")).await.unwrap();
    answer.expect_error(401, "M_MISSING_TOKEN").unwrap();
}
