//! GET /_matrix/client/v1/admin/lock/{userId}
//! PUT /_matrix/client/v1/admin/lock/{userId}

use serde_json::{Value, json};
use starling_conformance::client::{PASSWORD, User, path};

use crate::support;

const WHOAMI: &str = "/_matrix/client/v3/account/whoami";

async fn lock(admin: &User, user: &str, locked: bool) -> Value {
    let path = path("/_matrix/client/v1/admin/lock/{}", &[user]);
    let answer = admin.api.put(&path, json!({ "locked": locked })).await.unwrap().ok().unwrap();
    assert_eq!(admin.api.get(&path).await.unwrap().ok().unwrap(), answer);
    answer
}

#[tokio::test]
async fn a_locked_account_can_only_log_out_until_it_is_unlocked() {
    let admin = support::admin().await;
    let alice = support::user("alice").await;
    let second = alice.login().await.unwrap();
    assert_eq!(lock(&admin, &alice.id, true).await, json!({ "locked": true }));
    for path in [WHOAMI, "/_matrix/client/v3/sync", "/_matrix/client/v3/capabilities"] {
        let answer = alice.api.get(path).await.unwrap();
        let body = answer.expect_error(401, "M_USER_LOCKED").unwrap();
        assert_eq!(body["soft_logout"], true, "{path}");
    }
    let identifier = json!({ "type": "m.id.user", "user": alice.id });
    let body = json!({ "type": "m.login.password", "identifier": identifier,
                       "password": PASSWORD });
    let answer = support::anonymous().await.post("/_matrix/client/v3/login", body).await.unwrap();
    answer.expect_error(401, "M_USER_LOCKED").unwrap();
    second.api.post("/_matrix/client/v3/logout", json!({})).await.unwrap().ok().unwrap();
    assert_eq!(lock(&admin, &alice.id, false).await, json!({ "locked": false }));
    alice.api.get(WHOAMI).await.unwrap().ok().unwrap();
    second.api.get(WHOAMI).await.unwrap().expect_error(401, "M_UNKNOWN_TOKEN").unwrap();
}

#[tokio::test]
async fn every_session_of_a_locked_account_can_be_ended() {
    let admin = support::admin().await;
    let alice = support::user("alice").await;
    lock(&admin, &alice.id, true).await;
    alice.api.post("/_matrix/client/v3/logout/all", json!({})).await.unwrap().ok().unwrap();
    lock(&admin, &alice.id, false).await;
    alice.api.get(WHOAMI).await.unwrap().expect_error(401, "M_UNKNOWN_TOKEN").unwrap();
}

#[tokio::test]
async fn administrators_only_and_not_over_each_other() {
    let admin = support::admin().await;
    let other = support::admin().await;
    let alice = support::user("alice").await;
    let of = |user: &str| path("/_matrix/client/v1/admin/lock/{}", &[user]);
    let nobody = alice.id.replace("@alice", "@nobody");
    let body = json!({ "locked": true });
    for user in [&alice.id, &nobody, &other.id] {
        let answer = alice.api.put(&of(user), body.clone()).await.unwrap();
        answer.expect_error(403, "M_FORBIDDEN").unwrap();
        alice.api.get(&of(user)).await.unwrap().expect_error(403, "M_FORBIDDEN").unwrap();
    }
    for user in [&admin.id, &other.id] {
        let answer = admin.api.put(&of(user), body.clone()).await.unwrap();
        answer.expect_error(403, "M_FORBIDDEN").unwrap();
    }
    for (user, status, errcode) in [
        (nobody.as_str(), 404, "M_NOT_FOUND"),
        ("@alice:elsewhere.example", 400, "M_INVALID_PARAM"),
        ("alice", 400, "M_INVALID_PARAM"),
    ] {
        let answer = admin.api.put(&of(user), body.clone()).await.unwrap();
        answer.expect_error(status, errcode).unwrap();
        admin.api.get(&of(user)).await.unwrap().expect_error(status, errcode).unwrap();
    }
    let answer = admin.api.get(&of(&alice.id)).await.unwrap().ok().unwrap();
    assert_eq!(answer, json!({ "locked": false }));
}
