//! POST /_matrix/client/v3/account/password

use serde_json::{Value, json};
use starling_conformance::client::{PASSWORD, User};

use crate::support;

const WHOAMI: &str = "/_matrix/client/v3/account/whoami";

async fn change(user: &User, mut body: Value) {
    let identifier = json!({ "type": "m.id.user", "user": user.id });
    body["auth"] =
        json!({ "type": "m.login.password", "identifier": identifier, "password": PASSWORD });
    let answer = user.api.post("/_matrix/client/v3/account/password", body).await.unwrap();
    answer.ok().unwrap();
}

#[tokio::test]
async fn the_old_password_and_the_other_sessions_end() {
    let alice = support::user("alice").await;
    let second = alice.login().await.unwrap();
    change(&alice, json!({ "new_password": "another battery staple" })).await;
    alice.api.get(WHOAMI).await.unwrap().ok().unwrap();
    second.api.get(WHOAMI).await.unwrap().expect_error(401, "M_UNKNOWN_TOKEN").unwrap();
    alice.login().await.unwrap_err();
}

#[tokio::test]
async fn the_old_password_must_be_given() {
    let alice = support::user("alice").await;
    let body = json!({ "new_password": "another battery staple" });
    let wanted = alice.api.post("/_matrix/client/v3/account/password", body).await.unwrap();
    wanted.expect_status(401).unwrap();
    alice.login().await.unwrap();
}

#[tokio::test]
async fn other_sessions_stay_when_asked_for() {
    let alice = support::user("alice").await;
    let second = alice.login().await.unwrap();
    let body = json!({ "new_password": "another battery staple", "logout_devices": false });
    change(&alice, body).await;
    second.api.get(WHOAMI).await.unwrap().ok().unwrap();
}
