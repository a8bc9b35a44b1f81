//! POST /_matrix/client/v3/users/{userId}/report

use serde_json::json;
use starling_conformance::client::path;

use crate::{scene::Scene, support};

fn target(user: &str) -> String {
    path("/_matrix/client/v3/users/{}/report", &[user])
}

#[tokio::test]
async fn users_of_this_and_other_servers_are_reported() {
    let scene = Scene::set("12").await;
    let bob = support::user("bob").await;
    for user in [&bob.id, &scene.mallory] {
        let answer = scene.alice.api.post(&target(user), json!({ "reason": "spam" })).await;
        assert_eq!(answer.unwrap().ok().unwrap(), json!({}));
    }
}

#[tokio::test]
async fn what_cannot_be_reported_is_refused() {
    let alice = support::user("alice").await;
    let report = async |user: &str, body| alice.api.post(&target(user), body).await.unwrap();
    for nobody in [alice.id.replace("@alice", "@nobody"), "@nobody:example.org".to_owned()] {
        let answer = report(&nobody, json!({ "reason": "" })).await;
        answer.expect_error(404, "M_NOT_FOUND").unwrap();
    }
    let answer = report("nobody", json!({ "reason": "" })).await;
    answer.expect_error(400, "M_INVALID_PARAM").unwrap();
    report(&alice.id, json!({})).await.expect_error(400, "M_MISSING_PARAM").unwrap();
    let answer = report(&alice.id, json!({ "reason": 5 })).await;
    answer.expect_error(400, "M_BAD_JSON").unwrap();
    let answer = support::anonymous().await.post(&target(&alice.id), json!({})).await.unwrap();
    answer.expect_error(401, "M_MISSING_TOKEN").unwrap();
}
