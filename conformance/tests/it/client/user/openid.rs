//! POST /_matrix/client/v3/user/{userId}/openid/request_token

use serde_json::json;
use starling_conformance::client::{path, text};

use crate::support;

const PATH: &str = "/_matrix/client/v3/user/{}/openid/request_token";
const USERINFO: &str = "/_matrix/federation/v1/openid/userinfo";

#[tokio::test]
async fn a_token_tells_who_one_is_and_nothing_else() {
    let alice = support::user("alice").await;
    let target = path(PATH, &[&alice.id]);
    let answer = alice.api.post(&target, json!({})).await.unwrap().ok().unwrap();
    assert_eq!(answer["token_type"], "Bearer");
    assert_eq!(answer["matrix_server_name"], support::server().await.name());
    assert_eq!(answer["expires_in"], 3600);
    let token = text(&answer, "/access_token").unwrap();
    let api = support::anonymous().await;
    let asked = path(&format!("{USERINFO}?access_token={{}}"), &[token]);
    // Services that are no servers ask where clients do.
    let answer = api.get(&asked).await.unwrap().ok().unwrap();
    assert_eq!(answer, json!({ "sub": alice.id }));
    let stranger = api.with_token(token);
    for target in ["/_matrix/client/v3/account/whoami", "/_matrix/client/v3/sync"] {
        stranger.get(target).await.unwrap().expect_error(401, "M_UNKNOWN_TOKEN").unwrap();
    }
    let answer = stranger.post(&target, json!({})).await.unwrap();
    answer.expect_error(401, "M_UNKNOWN_TOKEN").unwrap();
}

#[tokio::test]
async fn nobody_asks_for_others() {
    let alice = support::user("alice").await;
    let bob = support::user("bob").await;
    let target = path(PATH, &[&alice.id]);
    bob.api.post(&target, json!({})).await.unwrap().expect_error(403, "M_FORBIDDEN").unwrap();
    let answer = support::anonymous().await.post(&target, json!({})).await.unwrap();
    answer.expect_error(401, "M_MISSING_TOKEN").unwrap();
    let answer = alice.api.raw(http::Method::POST, &target, "application/json", "[").await.unwrap();
    answer.expect_error(400, "M_NOT_JSON").unwrap();
}
