//! POST /_matrix/client/v3/logout
//! POST /_matrix/client/v3/logout/all

use serde_json::json;

use crate::support;

const WHOAMI: &str = "/_matrix/client/v3/account/whoami";

#[tokio::test]
async fn one_session_ends() {
    let alice = support::user("alice").await;
    let second = alice.login().await.unwrap();
    second.api.post("/_matrix/client/v3/logout", json!({})).await.unwrap().ok().unwrap();
    second.api.get(WHOAMI).await.unwrap().expect_error(401, "M_UNKNOWN_TOKEN").unwrap();
    alice.api.get(WHOAMI).await.unwrap().ok().unwrap();
}

#[tokio::test]
async fn all_sessions_end() {
    let alice = support::user("alice").await;
    let second = alice.login().await.unwrap();
    second.api.post("/_matrix/client/v3/logout/all", json!({})).await.unwrap().ok().unwrap();
    for user in [&alice, &second] {
        user.api.get(WHOAMI).await.unwrap().expect_error(401, "M_UNKNOWN_TOKEN").unwrap();
    }
}
