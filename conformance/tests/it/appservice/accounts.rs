//! Registering and logging in by the token of an application service, and names that are kept for it.

use serde_json::{Value, json};
use starling_conformance::{
    appservice::{Bridge, Plan},
    client::{Api, User},
};

use super::{scene, server_with};

const REGISTER: &str = "/_matrix/client/v3/register";
const LOGIN: &str = "/_matrix/client/v3/login";
const TYPE: &str = "m.login.application_service";

fn login(user: &str) -> Value {
    json!({ "type": TYPE, "identifier": { "type": "m.id.user", "user": user } })
}

#[tokio::test]
async fn an_application_service_registers_its_users() {
    let scene = scene().await;
    let api = scene.bridge.api(&scene.server).unwrap();
    let register = |name: &str| json!({ "type": TYPE, "username": name });
    let answer = api.post(REGISTER, register("_irc_a")).await.unwrap();
    let user = User::from_login(&api, answer).unwrap();
    assert_eq!(user.id, scene.bridge.ghost(&scene.server, "a"));
    user.api.get("/_matrix/client/v3/account/whoami").await.unwrap().ok().unwrap();
    let mut without_device = register("_irc_b");
    without_device["inhibit_login"] = json!(true);
    let answer = api.post(REGISTER, without_device).await.unwrap().ok().unwrap();
    assert_eq!(answer, json!({ "user_id": scene.bridge.ghost(&scene.server, "b") }));
    for (body, errcode) in [
        (register("_irc_a"), "M_USER_IN_USE"),
        (register("alice"), "M_EXCLUSIVE"),
        (register("_irc_é"), "M_INVALID_USERNAME"),
        (json!({ "type": TYPE }), "M_MISSING_PARAM"),
    ] {
        api.post(REGISTER, body).await.unwrap().expect_error(400, errcode).unwrap();
    }
    let anybody = Api::new(&scene.server).unwrap();
    let answer = anybody.post(REGISTER, register("_irc_c")).await.unwrap();
    answer.expect_error(401, "M_MISSING_TOKEN").unwrap();
    for token in ["x", scene.bridge.hs_token(), &user.token] {
        let answer = anybody.with_token(token).post(REGISTER, register("_irc_c")).await.unwrap();
        answer.expect_error(401, "M_UNKNOWN_TOKEN").unwrap();
    }
}

#[tokio::test]
async fn an_application_service_logs_in_as_its_users() {
    let scene = scene().await;
    let api = scene.bridge.api(&scene.server).unwrap();
    let flows = api.get(LOGIN).await.unwrap().ok().unwrap();
    assert!(flows["flows"].as_array().unwrap().contains(&json!({ "type": TYPE })), "{flows}");
    let ghost = scene.bridge.register(&scene.server, "a").await.unwrap();
    for name in ["_irc_a", &ghost] {
        let user = User::from_login(&api, api.post(LOGIN, login(name)).await.unwrap()).unwrap();
        assert_eq!(user.id, ghost);
        user.api.get("/_matrix/client/v3/account/whoami").await.unwrap().ok().unwrap();
    }
    let alice = User::register(&scene.server, "alice").await.unwrap();
    let answer = api.post(LOGIN, login(&alice.id)).await.unwrap();
    answer.expect_error(400, "M_EXCLUSIVE").unwrap();
    let answer = api.post(LOGIN, login("_irc_nobody")).await.unwrap();
    answer.expect_error(403, "M_FORBIDDEN").unwrap();
    let answer = api.post(LOGIN, json!({ "type": TYPE })).await.unwrap();
    answer.expect_error(400, "M_MISSING_PARAM").unwrap();
    let anybody = Api::new(&scene.server).unwrap();
    let answer = anybody.post(LOGIN, login(&ghost)).await.unwrap();
    answer.expect_error(401, "M_MISSING_TOKEN").unwrap();
    let answer = alice.api.post(LOGIN, login(&ghost)).await.unwrap();
    answer.expect_error(401, "M_UNKNOWN_TOKEN").unwrap();
    let password = json!({ "type": "m.login.password", "user": ghost, "password": "" });
    anybody.post(LOGIN, password).await.unwrap().expect_error(403, "M_FORBIDDEN").unwrap();
}

#[tokio::test]
async fn names_are_kept_for_application_services() {
    let mut other = Plan::new("log");
    other.namespaces = json!({ "users": [{ "regex": "@_log_", "exclusive": false }] });
    let log = Bridge::start(other).await.unwrap();
    let irc = Bridge::start(Plan::new("irc")).await.unwrap();
    let server = server_with(&[&irc, &log], &[]).await;
    let anybody = Api::new(&server).unwrap();
    for (name, is_kept) in [
        ("_irc_a", true),
        ("ircbot", true),
        ("logbot", true),
        ("_log_a", false),
        ("my_irc_a", false),
    ] {
        let available = format!("{REGISTER}/available?username={name}");
        let available = anybody.get(&available).await.unwrap();
        let registered = anybody.register(json!({ "username": name, "password": "x" })).await;
        match is_kept {
            true => {
                available.expect_error(400, "M_EXCLUSIVE").unwrap();
                registered.unwrap().expect_error(400, "M_EXCLUSIVE").unwrap();
            }
            false => {
                available.ok().unwrap();
                registered.unwrap().ok().unwrap();
            }
        }
    }
    // One application service makes none of another's users.
    let body = json!({ "type": TYPE, "username": "_irc_b" });
    let answer = log.api(&server).unwrap().post(REGISTER, body).await.unwrap();
    answer.expect_error(400, "M_EXCLUSIVE").unwrap();
}
