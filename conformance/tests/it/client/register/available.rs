//! GET /_matrix/client/v3/register/available

use serde_json::json;
use starling_conformance::{client::path, random};

use crate::support;

#[tokio::test]
async fn names_are_looked_up_before_they_are_taken() {
    let alice = support::user("alice").await;
    let api = support::anonymous().await;
    let ask = async |name: &str| {
        let target = path("/_matrix/client/v3/register/available?username={}", &[name]);
        api.get(&target).await.unwrap()
    };
    let free = ask(&format!("free-{}", random::suffix().unwrap())).await.ok().unwrap();
    assert_eq!(free, json!({ "available": true }));
    let name = alice.id.trim_start_matches('@').split(':').next().unwrap();
    ask(name).await.expect_error(400, "M_USER_IN_USE").unwrap();
    for wrong in ["no spaces", "@alice:example.org", "UPPER!", ""] {
        ask(wrong).await.expect_error(400, "M_INVALID_USERNAME").unwrap();
    }
    let answer = api.get("/_matrix/client/v3/register/available").await.unwrap();
    answer.expect_error(400, "M_MISSING_PARAM").unwrap();
}
