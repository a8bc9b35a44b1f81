//! GET /_matrix/client/v3/pushers

use serde_json::{Value, json};
use starling_conformance::client::{PASSWORD, User};

use crate::support;

mod set;

const LIST: &str = "/_matrix/client/v3/pushers";
const SET: &str = "/_matrix/client/v3/pushers/set";

/// A pusher as a client sets it.
fn pusher(pushkey: &str) -> Value {
    json!({
        "app_id": "org.example.app",
        "pushkey": pushkey,
        "kind": "http",
        "app_display_name": "Example",
        "device_display_name": "A telephone",
        "profile_tag": "tag",
        "lang": "en",
        "data": { "url": "https://push.invalid/_matrix/push/v1/notify", "x": { "y": [1, 2.5] } },
    })
}

async fn put(user: &User, body: Value) {
    user.api.post(SET, body).await.unwrap().ok().unwrap();
}

async fn list(user: &User) -> Vec<Value> {
    let answer = user.api.get(LIST).await.unwrap().ok().unwrap();
    answer["pushers"].as_array().unwrap().clone()
}

async fn pushkeys(user: &User) -> Vec<String> {
    let pushers = list(user).await;
    pushers.iter().map(|it| it["pushkey"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn pushers_are_shown_as_they_were_set() {
    let alice = support::user("alice").await;
    assert_eq!(list(&alice).await, [] as [Value; 0]);
    put(&alice, pusher("a")).await;
    let mut wanted = pusher("a");
    wanted["org.matrix.msc3881.enabled"] = json!(true);
    wanted["org.matrix.msc3881.device_id"] = json!(alice.device);
    assert_eq!(list(&alice).await, [wanted]);
    let anonymous = support::anonymous().await;
    anonymous.get(LIST).await.unwrap().expect_error(401, "M_MISSING_TOKEN").unwrap();
    let versions = anonymous.get("/_matrix/client/versions").await.unwrap().ok().unwrap();
    assert_eq!(versions["unstable_features"]["org.matrix.msc3881"], true);
}

#[tokio::test]
async fn pushers_go_with_the_device_that_set_them() {
    let alice = support::user("alice").await;
    let (second, third) = (alice.login().await.unwrap(), alice.login().await.unwrap());
    put(&alice, pusher("first")).await;
    put(&second, pusher("second")).await;
    put(&third, pusher("third")).await;
    assert_eq!(pushkeys(&alice).await, ["first", "second", "third"]);
    second.api.post("/_matrix/client/v3/logout", json!({})).await.unwrap().ok().unwrap();
    assert_eq!(pushkeys(&alice).await, ["first", "third"]);
    let auth = json!({
        "type": "m.login.password", "password": PASSWORD,
        "identifier": { "type": "m.id.user", "user": alice.id },
    });
    let body = json!({ "devices": [third.device], "auth": auth });
    let target = "/_matrix/client/v3/delete_devices";
    alice.api.post(target, body).await.unwrap().ok().unwrap();
    assert_eq!(pushkeys(&alice).await, ["first"]);
}

#[tokio::test]
async fn a_new_password_takes_those_of_other_devices_away() {
    let alice = support::user("alice").await;
    let second = alice.login().await.unwrap();
    put(&alice, pusher("own")).await;
    put(&second, pusher("other")).await;
    let change = async |logout_devices: bool| {
        let auth = json!({
            "type": "m.login.password", "password": PASSWORD,
            "identifier": { "type": "m.id.user", "user": alice.id },
        });
        let body =
            json!({ "new_password": PASSWORD, "logout_devices": logout_devices, "auth": auth });
        let target = "/_matrix/client/v3/account/password";
        alice.api.post(target, body).await.unwrap().ok().unwrap();
    };
    change(false).await;
    assert_eq!(pushkeys(&alice).await, ["other", "own"]);
    change(true).await;
    assert_eq!(pushkeys(&alice).await, ["own"]);
}

#[tokio::test]
async fn administrators_see_them() {
    let admin = support::admin().await;
    let alice = support::user("alice").await;
    put(&alice, pusher("a")).await;
    let target = format!("/_synapse/admin/v1/users/{}/pushers", alice.id);
    let shown = admin.api.get(&target).await.unwrap().ok().unwrap();
    assert_eq!((&shown["total"], &shown["pushers"][0]["pushkey"]), (&json!(1), &json!("a")));
    alice.api.get(&target).await.unwrap().expect_error(403, "M_FORBIDDEN").unwrap();
    let nobody = target.replace("alice", "nobody");
    admin.api.get(&nobody).await.unwrap().expect_error(404, "M_NOT_FOUND").unwrap();
    let body = json!({ "erase": false });
    let deactivate = format!("/_synapse/admin/v1/deactivate/{}", alice.id);
    admin.api.post(&deactivate, body).await.unwrap().ok().unwrap();
    let shown = admin.api.get(&target).await.unwrap().ok().unwrap();
    assert_eq!(shown, json!({ "pushers": [], "total": 0 }));
}
