//! GET /_synapse/admin/v2/users/{userId}/devices
//! and what else there is about a user's devices.

use serde_json::json;

use super::at;
use crate::support;

#[tokio::test]
async fn devices_are_listed_made_renamed_and_removed() {
    let admin = support::admin().await;
    let alice = support::user("alice").await;
    let (second, third) = (alice.login().await.unwrap(), alice.login().await.unwrap());
    let all = at("/v2/users/{}/devices", &[&alice.id]);
    let one = |device: &str| at("/v2/users/{}/devices/{}", &[&alice.id, device]);
    let list = admin.api.get(&all).await.unwrap().ok().unwrap();
    assert_eq!(list["total"], 3);
    assert!(list["devices"].as_array().unwrap().iter().all(|it| it["user_id"] == *alice.id));

    let name = json!({ "display_name": "desk" });
    admin.api.put(&one(&second.device), name.clone()).await.unwrap().ok().unwrap();
    let device = admin.api.get(&one(&second.device)).await.unwrap().ok().unwrap();
    assert_eq!(device["display_name"], "desk");
    let nothing = one("NOTHING");
    admin.api.put(&nothing, name).await.unwrap().expect_error(404, "M_NOT_FOUND").unwrap();
    admin.api.get(&nothing).await.unwrap().expect_error(404, "M_NOT_FOUND").unwrap();

    let answer = admin.api.post(&all, json!({ "device_id": "MADE" })).await.unwrap();
    assert_eq!(answer.status, 201);
    admin.api.get(&one("MADE")).await.unwrap().ok().unwrap();
    for (body, errcode) in
        [(json!({}), "M_MISSING_PARAM"), (json!({ "device_id": "" }), "M_INVALID_PARAM")]
    {
        admin.api.post(&all, body).await.unwrap().expect_error(400, errcode).unwrap();
    }

    admin.api.delete(&one(&second.device)).await.unwrap().ok().unwrap();
    let whoami = second.api.get("/_matrix/client/v3/account/whoami").await.unwrap();
    whoami.expect_error(401, "M_UNKNOWN_TOKEN").unwrap();
    let some = at("/v2/users/{}/delete_devices", &[&alice.id]);
    let body = json!({ "devices": [third.device, "MADE", "NOTHING"] });
    admin.api.post(&some, body).await.unwrap().ok().unwrap();
    let list = admin.api.get(&all).await.unwrap().ok().unwrap();
    assert_eq!(list["total"], 1);
    assert_eq!(list["devices"][0]["device_id"], *alice.device);
    let missing = at("/v2/users/{}/devices", &[&alice.id.replace("alice", "nobody")]);
    admin.api.get(&missing).await.unwrap().expect_error(404, "M_NOT_FOUND").unwrap();
}
