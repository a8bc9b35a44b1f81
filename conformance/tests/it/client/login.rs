//! GET /_matrix/client/v3/login
//! POST /_matrix/client/v3/login

mod get_token;

use std::time::Duration;

use futures_util::{StreamExt as _, stream::FuturesUnordered};
use serde_json::{Value, json};
use starling_conformance::{
    client::{Api, PASSWORD, User, text},
    servers::Server,
};

use crate::support;

const LOGIN: &str = "/_matrix/client/v3/login";

fn with_password(user: &str, password: &str) -> Value {
    let identifier = json!({ "type": "m.id.user", "user": user });
    json!({ "type": "m.login.password", "identifier": identifier, "password": password })
}

#[tokio::test]
async fn passwords_are_offered() {
    let flows = support::anonymous().await.get(LOGIN).await.unwrap().ok().unwrap();
    let flows = flows["flows"].as_array().unwrap();
    assert!(flows.iter().any(|flow| flow["type"] == "m.login.password"), "{flows:?}");
}

#[tokio::test]
async fn each_log_in_is_a_device_of_its_own() {
    let alice = support::user("alice").await;
    let second = alice.login().await.unwrap();
    assert_ne!(second.device, alice.device);
    for user in [&alice, &second] {
        user.api.get("/_matrix/client/v3/account/whoami").await.unwrap().ok().unwrap();
    }
}

#[tokio::test]
async fn a_device_that_logs_in_again_loses_its_old_token() {
    let alice = support::user("alice").await;
    let mut body = with_password(&alice.id, PASSWORD);
    body["device_id"] = json!(alice.device);
    let answer = support::anonymous().await.post(LOGIN, body).await.unwrap().ok().unwrap();
    assert_eq!(text(&answer, "/device_id").unwrap(), alice.device);
    let whoami = alice.api.get("/_matrix/client/v3/account/whoami").await.unwrap();
    whoami.expect_error(401, "M_UNKNOWN_TOKEN").unwrap();
}

#[tokio::test]
async fn a_wrong_password_and_an_unknown_user_are_told_alike() {
    let alice = support::user("alice").await;
    let api = support::anonymous().await;
    let wrong = api.post(LOGIN, with_password(&alice.id, "wrong")).await.unwrap();
    let nobody = api.post(LOGIN, with_password("nobody-at-all", PASSWORD)).await.unwrap();
    let wrong = wrong.expect_error(403, "M_FORBIDDEN").unwrap();
    assert_eq!(nobody.expect_error(403, "M_FORBIDDEN").unwrap(), wrong);
}

#[tokio::test]
async fn a_body_without_a_type_is_refused() {
    let answer = support::anonymous().await.post(LOGIN, json!({})).await.unwrap();
    answer.expect_status(400).unwrap();
    let body = json!({ "type": "org.example.handshake" });
    let answer = support::anonymous().await.post(LOGIN, body).await.unwrap();
    answer.expect_error(400, "M_UNKNOWN").unwrap();
}

/// A server of the test's own, with this setting.
async fn server_with(name: &str, value: &str) -> Server {
    let mut spec = support::spec();
    spec.settings.push((name.to_owned(), value.to_owned()));
    support::start(spec).await
}

#[tokio::test]
async fn a_flood_of_log_ins_stops_nobody_else() {
    // Each password costs this server about as much as a release build on a slow machine.
    let server = server_with("ACCOUNTS__PASSWORD_HASHING__ITERATIONS", "12").await;
    let api = Api::new(&server).unwrap();
    let log_in = || api.post(LOGIN, with_password("nobody-at-all", "guess"));
    let mut flood: FuturesUnordered<_> = (0..100).map(|_| log_in()).collect();
    let mut refused = 0;
    while let Some(answer) = flood.next().await {
        let answer = answer.unwrap();
        if answer.status == 403 {
            continue;
        }
        // The line is full: what is not a password does not stand in it.
        refused += 1;
        assert!(answer.headers.contains_key("retry-after"), "{answer:?}");
        answer.expect_error(429, "M_LIMIT_EXCEEDED").unwrap();
        if refused == 1 {
            let versions = api.get("/_matrix/client/versions");
            tokio::time::timeout(Duration::from_secs(2), versions).await.unwrap().unwrap();
        }
    }
    assert!(refused > 0, "nobody was refused");
}

#[tokio::test]
async fn after_too_many_wrong_passwords_even_the_right_one_has_to_wait() {
    let server = server_with("RATE_LIMITS__ENABLED", "true").await;
    let (alice, bob) = (register(&server, "alice").await, register(&server, "bob").await);
    let api = Api::new(&server).unwrap();
    let mut refusal = None;
    for _ in 0..20 {
        let answer = api.post(LOGIN, with_password(&alice.id, "guess")).await.unwrap();
        if answer.status == 429 {
            refusal = Some(answer);
            break;
        }
        answer.expect_error(403, "M_FORBIDDEN").unwrap();
    }
    let refusal = refusal.expect("twenty guesses were taken");
    let seconds: u64 = refusal.headers["retry-after"].to_str().unwrap().parse().unwrap();
    let body = refusal.expect_error(429, "M_LIMIT_EXCEEDED").unwrap();
    let ms = body["retry_after_ms"].as_u64().unwrap();
    assert!(seconds >= 1 && ms > 0 && ms <= seconds * 1000, "{seconds} {body}");
    let right = api.post(LOGIN, with_password(&alice.id, PASSWORD)).await.unwrap();
    right.expect_error(429, "M_LIMIT_EXCEEDED").unwrap();
    api.post(LOGIN, with_password(&bob.id, PASSWORD)).await.unwrap().ok().unwrap();
    alice.api.get("/_matrix/client/v3/account/whoami").await.unwrap().ok().unwrap();
}

#[tokio::test]
async fn without_limits_everybody_may_guess() {
    let alice = support::user("alice").await;
    let api = support::anonymous().await;
    for _ in 0..20 {
        let answer = api.post(LOGIN, with_password(&alice.id, "guess")).await.unwrap();
        answer.expect_error(403, "M_FORBIDDEN").unwrap();
    }
    api.post(LOGIN, with_password(&alice.id, PASSWORD)).await.unwrap().ok().unwrap();
}

async fn register(server: &Server, name: &str) -> User {
    User::register(server, name).await.unwrap()
}
