//! POST /_matrix/client/v3/refresh

use serde_json::json;
use starling_conformance::{
    client::{PASSWORD, text},
    random,
};

use crate::support;

const WHOAMI: &str = "/_matrix/client/v3/account/whoami";

#[tokio::test]
async fn the_first_use_of_the_new_token_ends_the_old_ones() {
    let api = support::anonymous().await;
    let name = format!("alice-{}", random::suffix().unwrap());
    let body = json!({ "username": name, "password": PASSWORD, "refresh_token": true });
    let first = api.register(body).await.unwrap().ok().unwrap();
    let old = json!({ "refresh_token": text(&first, "/refresh_token").unwrap() });
    let refresh = "/_matrix/client/v3/refresh";
    let second = api.post(refresh, old.clone()).await.unwrap().ok().unwrap();
    let of = |tokens| api.with_token(text(tokens, "/access_token").unwrap());
    of(&first).get(WHOAMI).await.unwrap().ok().unwrap();
    of(&second).get(WHOAMI).await.unwrap().ok().unwrap();
    of(&first).get(WHOAMI).await.unwrap().expect_error(401, "M_UNKNOWN_TOKEN").unwrap();
    let answer = api.post(refresh, old).await.unwrap();
    assert!((400..500).contains(&answer.status), "{answer:?}");
}

#[tokio::test]
async fn an_unknown_token_is_refused() {
    let body = json!({ "refresh_token": "never-given" });
    let answer = support::anonymous().await.post("/_matrix/client/v3/refresh", body).await;
    answer.unwrap().expect_error(401, "M_UNKNOWN_TOKEN").unwrap();
}
