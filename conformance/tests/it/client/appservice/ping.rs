//! `POST /appservice/{appserviceId}/ping`

use std::time::Duration;

use serde_json::json;
use starling_conformance::{
    appservice::{Bridge, Plan},
    client::{Api, User},
};

use crate::appservice::{scene, scene_of, server_with};

fn path(id: &str) -> String {
    format!("/_matrix/client/v1/appservice/{id}/ping")
}

#[tokio::test]
async fn a_ping_comes_through_with_the_token_of_the_server() {
    let scene = scene().await;
    let api = scene.bridge.api(&scene.server).unwrap();
    for body in [json!({ "transaction_id": "meow" }), json!({})] {
        let answer = api.post(&path("irc"), body.clone()).await.unwrap().ok().unwrap();
        assert!(answer["duration_ms"].is_u64(), "{answer}");
        let asked = scene.bridge.asked().pop().unwrap();
        assert_eq!((&*asked.method, &*asked.path), ("POST", "/_matrix/app/v1/ping"));
        assert_eq!(asked.authorization, format!("Bearer {}", scene.bridge.hs_token()));
        assert_eq!(asked.body, body);
    }
}

#[tokio::test]
async fn a_ping_that_does_not_come_through_is_explained() {
    let mut scene = scene().await;
    let api = scene.bridge.api(&scene.server).unwrap();
    scene.bridge.fail(Some(401));
    let answer = api.post(&path("irc"), json!({})).await.unwrap();
    let answer = answer.expect_error(502, "M_BAD_STATUS").unwrap();
    assert_eq!(answer["status"], 401);
    assert_eq!(answer["body"], r#"{"errcode":"M_UNKNOWN"}"#);
    scene.bridge.fail(None);
    scene.bridge.be_slow(Duration::from_secs(60));
    let answer = api.post(&path("irc"), json!({})).await.unwrap();
    answer.expect_error(504, "M_CONNECTION_TIMEOUT").unwrap();
    scene.bridge.go();
    let answer = api.post(&path("irc"), json!({})).await.unwrap();
    let answer = answer.expect_error(502, "M_CONNECTION_FAILED").unwrap();
    let shown = answer.to_string();
    assert!(!shown.contains(scene.bridge.hs_token()) && !shown.contains("http"), "{shown}");
}

#[tokio::test]
async fn nobody_pings_for_others() {
    let irc = Bridge::start(Plan::new("irc")).await.unwrap();
    let log = Bridge::start(Plan::new("log")).await.unwrap();
    let server = server_with(&[&irc, &log], &[]).await;
    let alice = User::register(&server, "alice").await.unwrap();
    for api in [&alice.api, &log.api(&server).unwrap()] {
        let answer = api.post(&path("irc"), json!({})).await.unwrap();
        answer.expect_error(403, "M_FORBIDDEN").unwrap();
    }
    let anybody = Api::new(&server).unwrap();
    let answer = anybody.post(&path("irc"), json!({})).await.unwrap();
    answer.expect_error(401, "M_MISSING_TOKEN").unwrap();
    let answer = anybody.with_token("x").post(&path("irc"), json!({})).await.unwrap();
    answer.expect_error(401, "M_UNKNOWN_TOKEN").unwrap();
    let api = irc.api(&server).unwrap();
    let answer = api.post(&path("irc"), json!({ "transaction_id": "x".repeat(300) })).await;
    answer.unwrap().expect_error(400, "M_INVALID_PARAM").unwrap();
    assert!(irc.asked().iter().all(|asked| asked.path != "/_matrix/app/v1/ping"));
}

#[tokio::test]
async fn who_listens_nowhere_is_told_so() {
    let plan = Plan { listens: false, ..Plan::new("irc") };
    let scene = scene_of(plan, &[]).await;
    let api = scene.bridge.api(&scene.server).unwrap();
    let answer = api.post(&path("irc"), json!({})).await.unwrap();
    answer.expect_error(400, "M_URL_NOT_SET").unwrap();
}
