//! The stages of registration, as clients pass them and as people do on the fallback pages:
//! GET /_matrix/client/v3/auth/{authType}/fallback/web
//! POST /_matrix/client/v3/auth/{authType}/fallback/web
//! GET /_matrix/static/client/login/

use std::sync::{Arc, Mutex};

use axum::{Router, extract::State, routing::post};
use http::Method;
use serde_json::{Value, json};
use starling_conformance::{
    client::{Answer, Api, PASSWORD, path},
    random,
    servers::Server,
};

use crate::support;

const FORM: &str = "application/x-www-form-urlencoded";
const TERMS: &str = r#"[{ id = "privacy", version = "2", name = "<b>Privacy</b>",
    url = "https://x.example/?a&b", translations.fr = { name = "Vie privée", url = "https://x/fr" } }]"#;

async fn ask(server: &Server, auth: Value) -> Answer {
    let mut body = json!({ "username": "alice", "password": PASSWORD });
    if auth != Value::Null {
        body["auth"] = auth;
    }
    Api::new(server).unwrap().post("/_matrix/client/v3/register", body).await.unwrap()
}

fn fallback(stage: &str, session: &Value) -> String {
    let session = session.as_str().unwrap();
    path("/_matrix/client/v3/auth/{}/fallback/web?session={}", &[stage, session])
}

fn shown(page: &Answer) -> String {
    let policy = page.headers["content-security-policy"].to_str().unwrap();
    assert!(policy.contains("default-src 'none'"), "{policy}");
    assert!(policy.contains("frame-ancestors 'none'"), "{policy}");
    String::from_utf8(page.bytes.to_vec()).unwrap()
}

async fn send(server: &Server, path: &str, form: &str) -> Answer {
    let api = Api::new(server).unwrap();
    api.raw(Method::POST, path, FORM, form.to_owned()).await.unwrap()
}

#[tokio::test]
async fn terms_are_shown_in_the_readers_language_and_agreed_to() {
    let server = support::server_with(&[("REGISTRATION__TERMS", TERMS)]).await;
    let wanted = ask(&server, Value::Null).await.body;
    let policy = &wanted["params"]["m.login.terms"]["policies"]["privacy"];
    assert_eq!(policy["version"], "2");
    assert_eq!(policy["en"]["name"], "<b>Privacy</b>");
    assert_eq!(policy["fr"]["url"], "https://x/fr");
    let target = fallback("m.login.terms", &wanted["session"]);
    let api = Api::new(&server).unwrap();
    let page = shown(&api.get(&target).await.unwrap());
    assert!(page.contains("&lt;b&gt;Privacy&lt;/b&gt;") && !page.contains("<b>"), "{page}");
    assert!(page.contains("href=\"https://x.example/?a&amp;b\""), "{page}");
    let french = api.builder(Method::GET, &target).header("Accept-Language", "fr-CH, fr;q=0.9");
    let french = french.send().await.unwrap().text().await.unwrap();
    assert!(french.contains("Vie privée"), "{french}");
    assert_eq!(send(&server, &target, "").await.status, 401);
    let still = ask(&server, json!({ "session": wanted["session"] })).await;
    assert_eq!(still.status, 401, "{still:?}");
    let done = send(&server, &target, "agree=yes").await;
    assert_eq!(done.status, 200);
    let page = shown(&done);
    assert!(page.contains("window.onAuthDone()") && page.contains("postMessage(\"authDone\""));
    ask(&server, json!({ "session": wanted["session"] })).await.ok().unwrap();
}

#[tokio::test]
async fn pages_of_other_stages_and_sessions_are_of_no_use() {
    let server = support::server_with(&[("REGISTRATION__TERMS", TERMS)]).await;
    let api = Api::new(&server).unwrap();
    let session = ask(&server, Value::Null).await.body["session"].clone();
    for (stage, session) in [
        ("m.login.terms", &json!("<script>alert(1)</script>")),
        ("m.login.dummy", &session),
        ("m.login.password", &session),
        ("<script>", &session),
    ] {
        let target = fallback(stage, session);
        let page = api.get(&target).await.unwrap();
        assert_eq!(page.status, 404, "{stage}");
        assert!(!shown(&page).contains("<script>"));
        assert_eq!(send(&server, &target, "agree=yes").await.status, 404, "{stage}");
    }
}

/// Somebody who makes captchas, and what they were asked.
async fn captchas() -> (String, Arc<Mutex<Vec<String>>>) {
    async fn verify(State(asked): State<Arc<Mutex<Vec<String>>>>, body: String) -> String {
        let solved = body.contains("response=solved");
        let huge = body.contains("response=huge");
        asked.lock().unwrap().push(body);
        match huge {
            true => format!("{{\"success\":true,\"x\":\"{}\"}}", "x".repeat(1 << 20)),
            false => json!({ "success": solved }).to_string(),
        }
    }
    let asked = Arc::default();
    let router = Router::new().route("/verify", post(verify)).with_state(Arc::clone(&asked));
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let url = format!("http://{}/verify", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    (url, asked)
}

#[tokio::test]
async fn a_captcha_is_verified_where_the_settings_say() {
    let (url, asked) = captchas().await;
    let server = support::server_with(&[
        ("REGISTRATION__RECAPTCHA__SITE_KEY", "public\"key"),
        ("REGISTRATION__RECAPTCHA__SECRET_KEY", "secret&key"),
        ("REGISTRATION__RECAPTCHA__VERIFY_URL", &url),
        ("REGISTRATION__TERMS", TERMS),
    ])
    .await;
    let wanted = ask(&server, Value::Null).await.body;
    let stages = json!([{ "stages": ["m.login.recaptcha", "m.login.terms"] }]);
    assert_eq!(wanted["flows"], stages);
    assert_eq!(wanted["params"]["m.login.recaptcha"]["public_key"], "public\"key");
    let session = &wanted["session"];
    let solve = async |response: &str| {
        let auth = json!({ "type": "m.login.recaptcha", "response": response, "session": session });
        ask(&server, auth).await
    };
    for wrong in ["wrong", "huge"] {
        solve(wrong).await.expect_error(401, "M_CAPTCHA_INVALID").unwrap();
    }
    solve("").await.expect_error(401, "M_BAD_JSON").unwrap();
    assert_eq!(asked.lock().unwrap()[0], "secret=secret%26key&response=wrong");

    let target = fallback("m.login.recaptcha", session);
    let page = Api::new(&server).unwrap().get(&target).await.unwrap();
    let policy = page.headers["content-security-policy"].to_str().unwrap().to_owned();
    assert!(policy.contains("https://www.google.com/recaptcha/"), "{policy}");
    assert!(shown(&page).contains("data-sitekey=\"public&quot;key\""));
    assert_eq!(send(&server, &target, "g-recaptcha-response=no").await.status, 401);
    assert_eq!(send(&server, &target, "g-recaptcha-response=solved").await.status, 200);
    let one_left = ask(&server, json!({ "session": session })).await;
    assert_eq!(one_left.body["completed"], json!(["m.login.recaptcha"]));
    ask(&server, json!({ "type": "m.login.terms", "session": session })).await.ok().unwrap();
}

#[tokio::test]
async fn a_registration_token_is_asked_for_on_a_page_too() {
    let server = support::server_with(&[("REGISTRATION__MODE", "token")]).await;
    let wanted = ask(&server, Value::Null).await.body;
    assert_eq!(wanted["flows"], json!([{ "stages": ["m.login.registration_token"] }]));
    let target = fallback("m.login.registration_token", &wanted["session"]);
    let page = Api::new(&server).unwrap().get(&target).await.unwrap();
    assert!(shown(&page).contains("name=\"token\""));
    let wrong = send(&server, &target, "token=wrong").await;
    assert_eq!(wrong.status, 401);
    assert!(shown(&wrong).contains("not the right one"));
    let validity = "/_matrix/client/v1/register/m.login.registration_token/validity?token=wrong";
    let answer = Api::new(&server).unwrap().get(validity).await.unwrap().ok().unwrap();
    assert_eq!(answer, json!({ "valid": false }));
}

#[tokio::test]
async fn a_password_is_asked_for_on_a_page_too() {
    let alice = support::user("alice").await;
    let second = alice.login().await.unwrap();
    let target = path("/_matrix/client/v3/devices/{}", &[&second.device]);
    let wanted = alice.api.request(Method::DELETE, &target, Some(&json!({}))).await.unwrap().body;
    let page = fallback("m.login.password", &wanted["session"]);
    let server = support::server().await;
    assert_eq!(send(server, &page, "password=wrong").await.status, 401);
    let form = format!("password={}", PASSWORD.replace(' ', "+"));
    assert_eq!(send(server, &page, &form).await.status, 200);
    let body = json!({ "auth": { "session": wanted["session"] } });
    alice.api.request(Method::DELETE, &target, Some(&body)).await.unwrap().ok().unwrap();
}

#[tokio::test]
async fn the_log_in_page_runs_nothing_but_its_own_script() {
    let api = support::anonymous().await;
    let target = format!("/_matrix/static/client/login/?device_id={}", random::suffix().unwrap());
    let page = api.get(&target).await.unwrap();
    assert_eq!(page.status, 200);
    let policy = page.headers["content-security-policy"].to_str().unwrap().to_owned();
    let nonce = policy.split("script-src 'nonce-").nth(1).unwrap().split('\'').next().unwrap();
    let html = shown(&page);
    assert!(html.contains(&format!("<script nonce=\"{nonce}\">")), "{policy}");
    assert_eq!(html.matches("<script").count(), 1);
    assert!(!html.contains("onsubmit=") && !html.contains("onclick="));
    assert!(html.contains("window.matrixLogin.onLogin(response)"));
    assert!(policy.contains("connect-src 'self'"), "{policy}");
}
