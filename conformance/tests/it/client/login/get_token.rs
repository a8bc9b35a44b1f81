//! POST /_matrix/client/v1/login/get_token

use http::Method;
use serde_json::{Value, json};
use starling_conformance::client::{Answer, Api, PASSWORD, User, text};

use crate::support;

const PATH: &str = "/_matrix/client/v1/login/get_token";
const LOGIN: &str = "/_matrix/client/v3/login";

fn auth(user: &User, session: &Value, password: &str) -> Value {
    let identifier = json!({ "type": "m.id.user", "user": user.id });
    json!({ "auth": { "type": "m.login.password", "identifier": identifier,
                      "password": password, "session": session } })
}

async fn token(user: &User) -> String {
    let wanted = user.api.post(PATH, json!({})).await.unwrap();
    assert_eq!(wanted.status, 401);
    let body = auth(user, &wanted.body["session"], PASSWORD);
    let answer = user.api.post(PATH, body).await.unwrap().ok().unwrap();
    assert_eq!(answer["expires_in_ms"], 120_000);
    text(&answer, "/login_token").unwrap().to_owned()
}

async fn log_in(api: &Api, token: &str) -> Answer {
    api.post(LOGIN, json!({ "type": "m.login.token", "token": token })).await.unwrap()
}

#[tokio::test]
async fn another_client_logs_in_by_it_once() {
    let alice = support::user("alice").await;
    let api = support::anonymous().await;
    let token = token(&alice).await;
    let second = User::from_login(&api, log_in(&api, &token).await).unwrap();
    assert_eq!(second.id, alice.id);
    assert_ne!(second.device, alice.device);
    second.api.get("/_matrix/client/v3/sync").await.unwrap().ok().unwrap();
    alice.api.get("/_matrix/client/v3/sync").await.unwrap().ok().unwrap();
    for wrong in [&token, &alice.token, "", "nothing"] {
        log_in(&api, wrong).await.expect_error(403, "M_FORBIDDEN").unwrap();
    }
    let answer = api.post(LOGIN, json!({ "type": "m.login.token" })).await.unwrap();
    answer.expect_error(400, "M_MISSING_PARAM").unwrap();
    let whoami = api.with_token(&token).get("/_matrix/client/v3/account/whoami").await.unwrap();
    whoami.expect_error(401, "M_UNKNOWN_TOKEN").unwrap();
}

#[tokio::test]
async fn each_needs_the_password_anew() {
    let alice = support::user("alice").await;
    let session = alice.api.post(PATH, json!({})).await.unwrap().body["session"].clone();
    let wrong = alice.api.post(PATH, auth(&alice, &session, "wrong")).await.unwrap();
    wrong.expect_error(401, "M_FORBIDDEN").unwrap();
    let body = auth(&alice, &session, PASSWORD);
    alice.api.post(PATH, body.clone()).await.unwrap().ok().unwrap();
    // The session is used up, so the same proof opens another one and is asked for again, or counts
    // for itself: never is a token made without a password in the request.
    let again = alice.api.post(PATH, json!({ "auth": { "session": session } })).await.unwrap();
    assert_eq!(again.status, 401, "{again:?}");
    let bob = support::user("bob").await;
    let answer = bob.api.post(PATH, body).await.unwrap();
    assert!(answer.status == 403 || answer.status == 401, "{answer:?}");
    for (body, errcode) in
        [("{", "M_NOT_JSON"), ("[]", "M_BAD_JSON"), (r#"{"auth":5}"#, "M_BAD_JSON")]
    {
        let answer = alice.api.raw(Method::POST, PATH, "application/json", body).await.unwrap();
        answer.expect_error(400, errcode).unwrap();
    }
    let answer = support::anonymous().await.post(PATH, json!({})).await.unwrap();
    answer.expect_error(401, "M_MISSING_TOKEN").unwrap();
}

#[tokio::test]
async fn it_ends_with_the_sessions_of_the_user() {
    let alice = support::user("alice").await;
    let api = support::anonymous().await;
    let token = token(&alice).await;
    alice.api.post("/_matrix/client/v3/logout/all", json!({})).await.unwrap().ok().unwrap();
    log_in(&api, &token).await.expect_error(403, "M_FORBIDDEN").unwrap();
}

#[tokio::test]
async fn it_is_offered_unless_it_is_switched_off() {
    let alice = support::user("alice").await;
    let flows = support::anonymous().await.get(LOGIN).await.unwrap().ok().unwrap();
    let flow = json!({ "type": "m.login.token", "get_login_token": true });
    assert!(flows["flows"].as_array().unwrap().contains(&flow), "{flows}");
    let enabled = |answer: &Value| {
        let names = ["m.get_login_token", "org.matrix.msc3882.get_login_token"];
        names.map(|name| answer["capabilities"][name]["enabled"].clone())
    };
    let answer = alice.api.get("/_matrix/client/v3/capabilities").await.unwrap().ok().unwrap();
    assert_eq!(enabled(&answer), [true, true]);

    let spec = support::spec().with_setting("ACCOUNTS__LOGIN_TOKENS", "false");
    let server = support::start(spec).await;
    let bob = User::register(&server, "bob").await.unwrap();
    let answer = bob.api.get("/_matrix/client/v3/capabilities").await.unwrap().ok().unwrap();
    assert_eq!(enabled(&answer), [false, false]);
    bob.api.post(PATH, json!({})).await.unwrap().expect_error(404, "M_UNRECOGNIZED").unwrap();
    log_in(&bob.api, "x").await.expect_error(400, "M_UNKNOWN").unwrap();
}
