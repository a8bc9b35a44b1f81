//! Every operation that the specification limits in rate is limited.

use http::Method;
use serde_json::json;
use starling_conformance::{
    client::{Answer, Api, path, text},
    operations,
    servers::{Kind, Server},
};

use crate::support;

/// More requests than any allowance below lets through in the time they take.
const ENOUGH: usize = 100;

/// One request at a time, and one more with each second, of every kind.
async fn strict_server() -> Server {
    let mut spec = support::spec()
        .with_setting("RATE_LIMITS__ENABLED", "true")
        .with_setting("CLIENT__TRUSTED_PROXIES", "127.0.0.0/8");
    for kind in ["REQUESTS", "SENDING", "JOINING", "CREATING", "ASKING", "ACCOUNT", "MEDIA"] {
        for part in ["BURST", "PER_SECOND"] {
            spec = spec.with_setting(&format!("RATE_LIMITS__{kind}__{part}"), "1");
        }
    }
    support::start(spec).await
}

#[tokio::test]
async fn what_the_specification_limits_is_limited() {
    if support::spec().kind != Kind::Starling {
        return;
    }
    let server = strict_server().await;
    let api = Api::new(&server).unwrap();
    let body = json!({ "auth": { "type": "m.login.dummy" }, "username": "alice", "password": "a" });
    let account = api.post("/_matrix/client/v3/register", body).await.unwrap().ok().unwrap();
    let alice = text(&account, "/user_id").unwrap();
    let api = api.with_token(text(&account, "/access_token").unwrap());
    let mut limited = 0;
    for (number, (method, template)) in
        operations::limited("client-server").unwrap().into_iter().enumerate()
    {
        let target = filled(&template, alice);
        let address = format!("192.0.2.{number}");
        let method: Method = method.parse().unwrap();
        let Some(refusal) = refused(&api, &method, &target, &address).await else { continue };
        assert!(refusal.headers.contains_key("retry-after"), "{refusal:?}");
        refusal.expect_error(429, "M_LIMIT_EXCEEDED").unwrap();
        limited += 1;
    }
    assert!(limited > 25, "only {limited} operations were there to be limited");
}

/// The refusal that comes when one asks too often; none when there is no such operation.
async fn refused(api: &Api, method: &Method, target: &str, address: &str) -> Option<Answer> {
    for _ in 0..ENOUGH {
        let mut request = api.builder(method.clone(), target).header("X-Forwarded-For", address);
        if method != Method::GET {
            request = request.json(&json!({}));
        }
        let answer = Answer::read(format!("{method} {target}"), request).await.unwrap();
        match (answer.status, answer.errcode()) {
            (429, _) => return Some(answer),
            (404 | 405, "M_UNRECOGNIZED") => return None,
            _ => {}
        }
    }
    panic!("{method} {target} is not limited");
}

/// The path with values that have the right form.
fn filled(template: &str, alice: &str) -> String {
    let parts = template.split('/').map(|part| match part {
        "{userId}" => path("{}", &[alice]),
        "{roomId}" | "{roomIdOrAlias}" => path("{}", &["!nowhere:example.org"]),
        "{eventId}" => path("{}", &["$nothing"]),
        "{receiptType}" => "m.read".to_owned(),
        "{kind}" => "content".to_owned(),
        part if part.starts_with('{') => "value".to_owned(),
        part => part.to_owned(),
    });
    parts.collect::<Vec<_>>().join("/")
}
