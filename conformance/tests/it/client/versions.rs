//! GET /_matrix/client/versions

use serde_json::json;

use crate::support;

#[tokio::test]
async fn names_the_versions_without_an_access_token() {
    let body = support::anonymous().await.get("/_matrix/client/versions").await.unwrap();
    let body = body.ok().unwrap();
    assert!(body["versions"].as_array().unwrap().contains(&json!("v1.11")), "{body}");
}

#[tokio::test]
async fn another_method_is_refused() {
    let answer = support::anonymous().await.delete("/_matrix/client/versions").await.unwrap();
    answer.expect_error(405, "M_UNRECOGNIZED").unwrap();
}
