//! DELETE /_matrix/client/unstable/org.matrix.msc3814.v1/dehydrated_device
//! GET /_matrix/client/unstable/org.matrix.msc3814.v1/dehydrated_device
//! PUT /_matrix/client/unstable/org.matrix.msc3814.v1/dehydrated_device
//! GET /_matrix/client/unstable/org.matrix.msc3814.v1/dehydrated_device/{deviceId}/events
//! POST /_matrix/client/unstable/org.matrix.msc3814.v1/dehydrated_device/{deviceId}/events

use serde_json::{Value, json};
use starling_conformance::client::{User, path};

use super::keys::{claim, device_keys, fallback_key, one_time_keys, query};
use crate::support;

const PATH: &str = "/_matrix/client/unstable/org.matrix.msc3814.v1/dehydrated_device";

fn body(user: &User, device: &str) -> Value {
    let of_device = User { device: device.to_owned(), ..user.clone() };
    json!({
        "device_id": device,
        "device_data": { "algorithm": "org.matrix.msc3814.v2", "device": device },
        "initial_device_display_name": "nowhere",
        "device_keys": device_keys(&of_device, device),
        "one_time_keys": one_time_keys(&["A"]),
        "fallback_keys": fallback_key("F"),
    })
}

fn events(device: &str) -> String {
    format!("{PATH}/{device}/events")
}

#[tokio::test]
async fn a_device_is_kept_and_gets_messages_until_it_is_taken_over() {
    let (alice, bob) = (support::user("alice").await, support::user("bob").await);
    alice.api.get(PATH).await.unwrap().expect_error(404, "M_NOT_FOUND").unwrap();
    let answer = alice.api.put(PATH, body(&alice, "KEPT")).await.unwrap().ok().unwrap();
    assert_eq!(answer, json!({ "device_id": "KEPT" }));
    let kept = alice.api.get(PATH).await.unwrap().ok().unwrap();
    let data = json!({ "algorithm": "org.matrix.msc3814.v2", "device": "KEPT" });
    assert_eq!(kept, json!({ "device_id": "KEPT", "device_data": data }));
    let found = query(&bob, &alice.id).await;
    assert!(found["device_keys"][&alice.id].get("KEPT").is_some(), "{found}");
    let of_device = User { device: "KEPT".to_owned(), ..alice.clone() };
    assert_eq!(claim(&bob, &of_device).await.unwrap().0, "signed_curve25519:A");
    assert_eq!(claim(&bob, &of_device).await.unwrap().0, "signed_curve25519:F");

    for number in 0..120 {
        let id = number.to_string();
        let target = path("/_matrix/client/v3/sendToDevice/{}/{}", &["m.test", &id]);
        let messages = json!({ "messages": { &alice.id: { "KEPT": { "n": number } } } });
        bob.api.put(&target, messages).await.unwrap().ok().unwrap();
    }
    let first = alice.api.post(&events("KEPT"), json!({})).await.unwrap().ok().unwrap();
    assert_eq!(first["events"].as_array().unwrap().len(), 100);
    assert_eq!(first["events"][0]["content"], json!({ "n": 0 }));
    let from = json!({ "next_batch": first["next_batch"] });
    let second = alice.api.post(&events("KEPT"), from).await.unwrap().ok().unwrap();
    assert_eq!(second["events"].as_array().unwrap().len(), 20);
    let query = path("?next_batch={}", &[second["next_batch"].as_str().unwrap()]);
    let last = alice.api.get(&format!("{}{query}", events("KEPT"))).await.unwrap().ok().unwrap();
    assert_eq!(last["events"], json!([]));
    let removed = alice.api.delete(PATH).await.unwrap().ok().unwrap();
    assert_eq!(removed, json!({ "device_id": "KEPT" }));
    alice.api.delete(PATH).await.unwrap().expect_error(404, "M_NOT_FOUND").unwrap();
    let answer = alice.api.post(&events("KEPT"), json!({})).await.unwrap();
    answer.expect_error(404, "M_NOT_FOUND").unwrap();
}

#[tokio::test]
async fn one_device_is_kept() {
    let alice = support::user("alice").await;
    alice.api.put(PATH, body(&alice, "ONE")).await.unwrap().ok().unwrap();
    alice.api.put(PATH, body(&alice, "ONE")).await.unwrap().ok().unwrap();
    alice.api.put(PATH, body(&alice, "TWO")).await.unwrap().ok().unwrap();
    assert_eq!(alice.api.get(PATH).await.unwrap().ok().unwrap()["device_id"], "TWO");
    let found = query(&alice, &alice.id).await;
    let devices = found["device_keys"][&alice.id].as_object().unwrap();
    assert_eq!(devices.keys().collect::<Vec<_>>(), ["TWO"]);
    let answer = alice.api.post(&events("ONE"), json!({})).await.unwrap();
    answer.expect_error(403, "M_FORBIDDEN").unwrap();
    let answer = alice.api.post(&events("TWO"), json!({ "next_batch": "x" })).await.unwrap();
    answer.expect_error(400, "M_INVALID_PARAM").unwrap();
}

#[tokio::test]
async fn what_is_no_device_is_refused() {
    let alice = support::user("alice").await;
    let answer = alice.api.put(PATH, body(&alice, &alice.device)).await.unwrap();
    answer.expect_error(400, "M_INVALID_PARAM").unwrap();
    let mut wrong = body(&alice, "KEPT");
    wrong["device_data"] = json!("text");
    let answer = alice.api.put(PATH, wrong).await.unwrap();
    answer.expect_error(400, "M_INVALID_PARAM").unwrap();
    let mut wrong = body(&alice, "KEPT");
    wrong["device_keys"]["device_id"] = json!("OTHER");
    let answer = alice.api.put(PATH, wrong).await.unwrap();
    answer.expect_error(400, "M_INVALID_PARAM").unwrap();
    let mut wrong = body(&alice, "KEPT");
    wrong["device_keys"] = json!({});
    alice.api.put(PATH, wrong).await.unwrap().expect_error(400, "M_BAD_JSON").unwrap();
    alice.api.put(PATH, json!({})).await.unwrap().expect_error(400, "M_MISSING_PARAM").unwrap();
    alice.api.get(PATH).await.unwrap().expect_error(404, "M_NOT_FOUND").unwrap();
    let anonymous = support::anonymous().await;
    anonymous.get(PATH).await.unwrap().expect_error(401, "M_MISSING_TOKEN").unwrap();
    anonymous.get(&events("X")).await.unwrap().expect_error(401, "M_MISSING_TOKEN").unwrap();
}
