//! GET /_matrix/client/v3/user/{userId}/account_data/{type}
//! PUT /_matrix/client/v3/user/{userId}/account_data/{type}
//! DELETE /_matrix/client/unstable/org.matrix.msc3391/user/{userId}/account_data/{type}

use http::Method;
use serde_json::{Value, json};
use starling_conformance::client::{Sync, User, path};

use crate::support;

fn data(user: &User, kind: &str) -> String {
    path("/_matrix/client/v3/user/{}/account_data/{}", &[&user.id, kind])
}

#[tokio::test]
async fn every_client_of_the_user_hears_of_it() {
    let alice = support::user("alice").await;
    let second = alice.login().await.unwrap();
    let mut sync = Sync::start(&second).await.unwrap();
    let content = json!({ "colour": "green" });
    let path = data(&alice, "org.example.colour");
    alice.api.put(&path, content.clone()).await.unwrap().ok().unwrap();
    assert_eq!(second.api.get(&path).await.unwrap().ok().unwrap(), content);
    let wanted = json!({ "type": "org.example.colour", "content": content });
    let has_it = |answer: &Value| {
        let events = answer["account_data"]["events"].as_array();
        events.is_some_and(|events| events.contains(&wanted))
    };
    sync.until("the account data", has_it).await.unwrap();
}

#[tokio::test]
async fn what_the_server_sets_is_not_set_by_clients() {
    let alice = support::user("alice").await;
    for kind in ["m.fully_read", "m.push_rules"] {
        let answer = alice.api.put(&data(&alice, kind), json!({})).await.unwrap();
        answer.expect_error(405, "M_BAD_JSON").unwrap();
    }
}

#[tokio::test]
async fn clients_hear_of_what_is_removed_and_new_ones_do_not_see_it() {
    let alice = support::user("alice").await;
    let kind = "org.example.colour";
    let path = data(&alice, kind);
    let removal = path.replace("/v3/", "/unstable/org.matrix.msc3391/");
    let of_kind = |answer: &Value| {
        let events = answer["account_data"]["events"].as_array().cloned().unwrap_or_default();
        events.into_iter().find(|event| event["type"] == kind)
    };
    for by_put in [false, true] {
        alice.api.put(&path, json!({ "colour": "green" })).await.unwrap().ok().unwrap();
        let mut sync = Sync::start(&alice).await.unwrap();
        let answer = match by_put {
            true => alice.api.put(&path, json!({})).await.unwrap(),
            false => alice.api.delete(&removal).await.unwrap(),
        };
        assert_eq!(answer.ok().unwrap(), json!({}));
        let told = |answer: &Value| of_kind(answer).is_some_and(|it| it["content"] == json!({}));
        sync.until("the removal", told).await.unwrap();
        alice.api.get(&path).await.unwrap().expect_error(404, "M_NOT_FOUND").unwrap();
        let first = alice.api.get("/_matrix/client/v3/sync").await.unwrap().ok().unwrap();
        assert_eq!(of_kind(&first), None);
    }
    alice.api.delete(&removal).await.unwrap().ok().unwrap();
    let bob = support::user("bob").await;
    bob.api.delete(&removal).await.unwrap().expect_error(403, "M_FORBIDDEN").unwrap();
    for kind in ["m.fully_read", "m.push_rules"] {
        let answer = alice.api.delete(&removal.replace("org.example.colour", kind)).await.unwrap();
        assert_eq!(answer.status, 405, "{answer:?}");
    }
    let anonymous = support::anonymous().await.delete(&removal).await.unwrap();
    anonymous.expect_error(401, "M_MISSING_TOKEN").unwrap();
}

#[tokio::test]
async fn it_is_nobody_elses() {
    let alice = support::user("alice").await;
    let bob = support::user("bob").await;
    let path = data(&alice, "org.example.colour");
    bob.api.get(&path).await.unwrap().expect_error(403, "M_FORBIDDEN").unwrap();
    let answer = bob.api.put(&path, json!({})).await.unwrap();
    answer.expect_error(403, "M_FORBIDDEN").unwrap();
}

#[tokio::test]
async fn it_is_a_json_object() {
    let alice = support::user("alice").await;
    let path = data(&alice, "org.example.colour");
    for (body, errcode) in [("{", "M_NOT_JSON"), ("[]", "M_BAD_JSON"), ("null", "M_BAD_JSON")] {
        let answer = alice.api.raw(Method::PUT, &path, "application/json", body).await.unwrap();
        answer.expect_error(400, errcode).unwrap();
    }
}

/// <https://github.com/matrix-org/matrix-spec-proposals/pull/3890>
#[tokio::test]
async fn what_a_device_notifies_of_is_forgotten_with_it() {
    let alice = support::user("alice").await;
    let second = alice.login().await.unwrap();
    let kind =
        |user: &User| format!("org.matrix.msc3890.local_notification_settings.{}", user.device);
    let (own, of_second) = (data(&alice, &kind(&alice)), data(&alice, &kind(&second)));
    for path in [&own, &of_second] {
        alice.api.put(path, json!({ "is_silenced": true })).await.unwrap().ok().unwrap();
    }
    let mut sync = Sync::start(&alice).await.unwrap();
    second.api.post("/_matrix/client/v3/logout", json!({})).await.unwrap().ok().unwrap();
    alice.api.get(&of_second).await.unwrap().expect_error(404, "M_NOT_FOUND").unwrap();
    alice.api.get(&own).await.unwrap().ok().unwrap();
    let removed = json!({ "type": kind(&second), "content": {} });
    let told = |answer: &Value| answer["account_data"]["events"] == json!([removed]);
    sync.until("the removal", told).await.unwrap();
}
