//! GET /_matrix/client/v1/register/m.login.registration_token/validity

use serde_json::json;
use starling_conformance::client::{Api, User, path};

use crate::support;

const PATH: &str = "/_matrix/client/v1/register/m.login.registration_token/validity?token={}";

#[tokio::test]
async fn a_token_is_looked_at_before_it_is_used() {
    let server = support::server_with(&[("REGISTRATION__MODE", "token")]).await;
    let admin = User::admin(&server, "admin").await.unwrap();
    let new = "/_synapse/admin/v1/registration_tokens/new";
    let made = admin.api.post(new, json!({ "uses_allowed": 1 })).await.unwrap().ok().unwrap();
    let api = Api::new(&server).unwrap();
    for (token, valid) in [(made["token"].as_str().unwrap(), true), ("wrong", false), ("", false)] {
        let answer = api.get(&path(PATH, &[token])).await.unwrap().ok().unwrap();
        assert_eq!(answer, json!({ "valid": valid }), "{token}");
    }
}

#[tokio::test]
async fn where_no_tokens_are_in_use_none_is_looked_at() {
    let answer = support::anonymous().await.get(&path(PATH, &["any"])).await.unwrap();
    answer.expect_error(403, "M_FORBIDDEN").unwrap();
}
