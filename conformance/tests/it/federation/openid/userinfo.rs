//! GET /_matrix/federation/v1/openid/userinfo

use http::Method;
use serde_json::json;
use starling_conformance::client::{Api, User, path, text};

use crate::support;

const PATH: &str = "/_matrix/federation/v1/openid/userinfo";

async fn token(user: &User) -> String {
    let target = path("/_matrix/client/v3/user/{}/openid/request_token", &[&user.id]);
    let answer = user.api.post(&target, json!({})).await.unwrap().ok().unwrap();
    text(&answer, "/access_token").unwrap().to_owned()
}

#[tokio::test]
async fn whoever_shows_a_token_is_told_whose_it_is() {
    let server = support::server().await;
    let peer = support::peer().await;
    let alice = support::user("alice").await;
    let target = format!("{PATH}?access_token={}", token(&alice).await);
    let ask = async |target: &str| {
        peer.request_as(server, Method::GET, target, None, None).await.unwrap()
    };
    assert_eq!(ask(&target).await.ok().unwrap(), json!({ "sub": alice.id }));
    assert_eq!(ask(&target).await.ok().unwrap(), json!({ "sub": alice.id }), "more than once");
    let own = format!("{PATH}?access_token={}", alice.token);
    for target in [own.as_str(), &format!("{PATH}?access_token="), &format!("{target}x")] {
        ask(target).await.expect_error(401, "M_UNKNOWN_TOKEN").unwrap();
    }
    ask(PATH).await.expect_error(401, "M_MISSING_TOKEN").unwrap();
}

#[tokio::test]
async fn it_is_there_where_servers_are_not_talked_to() {
    let spec = support::spec().with_setting("FEDERATION__ENABLED", "false");
    let server = support::start(spec).await;
    let alice = User::register(&server, "alice").await.unwrap();
    let api = Api::new(&server).unwrap();
    let target = format!("{PATH}?access_token={}", token(&alice).await);
    assert_eq!(api.get(&target).await.unwrap().ok().unwrap(), json!({ "sub": alice.id }));
    let version = api.get("/_matrix/federation/v1/version").await.unwrap();
    version.expect_error(404, "M_UNRECOGNIZED").unwrap();
}
