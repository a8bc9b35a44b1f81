//! GET /.well-known/matrix/policy_server

use serde_json::json;
use starling_conformance::client::Api;

use crate::support;

const PATH: &str = "/.well-known/matrix/policy_server";

#[tokio::test]
async fn keys_are_announced_when_they_are_set() {
    let answer = support::anonymous().await.get(PATH).await.unwrap();
    answer.expect_error(404, "M_NOT_FOUND").unwrap();
    let keys = r#"{ ed25519 = "6yhHGKhCiXTSEN2ksjV7kX_N6rBQZ3Xb-M7LlC6NS-s" }"#;
    let server = support::start(support::spec().with_setting("CLIENT__POLICY_SERVER_KEYS", keys));
    let answer = Api::new(&server.await).unwrap().get(PATH).await.unwrap().ok().unwrap();
    let keys = json!({ "ed25519": "6yhHGKhCiXTSEN2ksjV7kX_N6rBQZ3Xb-M7LlC6NS-s" });
    assert_eq!(answer, json!({ "public_keys": keys }));
}
