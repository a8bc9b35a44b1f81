//! GET /_matrix/client/v3/voip/turnServer

use serde_json::json;
use starling_conformance::client::{User, text};

use crate::support;

const PATH: &str = "/_matrix/client/v3/voip/turnServer";

#[tokio::test]
async fn without_a_turn_server_the_answer_is_empty() {
    let alice = support::user("alice").await;
    assert_eq!(alice.api.get(PATH).await.unwrap().ok().unwrap(), json!({}));
    let answer = support::anonymous().await.get(PATH).await.unwrap();
    answer.expect_error(401, "M_MISSING_TOKEN").unwrap();
}

#[tokio::test]
async fn credentials_of_ones_own_end() {
    let spec = support::spec()
        .with_setting("TURN__URIS", "turn:turn.example.org,turns:turn.example.org?transport=tcp")
        .with_setting("TURN__SHARED_SECRET", "secret")
        .with_setting("TURN__TTL_SECONDS", "600");
    let server = support::start(spec).await;
    let alice = User::register(&server, "alice").await.unwrap();
    let answer = alice.api.get(PATH).await.unwrap().ok().unwrap();
    assert_eq!(answer["ttl"], 600);
    let uris = json!(["turn:turn.example.org", "turns:turn.example.org?transport=tcp"]);
    assert_eq!(answer["uris"], uris);
    let (until, user) = text(&answer, "/username").unwrap().split_once(':').unwrap();
    assert_eq!(user, alice.id);
    assert!(until.parse::<u64>().unwrap() > 1_700_000_000);
    // 20 bytes of HMAC-SHA1 in base64.
    assert_eq!(text(&answer, "/password").unwrap().len(), 28);
}

#[tokio::test]
async fn a_fixed_account_is_given_to_everybody() {
    let spec = support::spec()
        .with_setting("TURN__URIS", "turn:turn.example.org")
        .with_setting("TURN__USERNAME", "name")
        .with_setting("TURN__PASSWORD", "word");
    let server = support::start(spec).await;
    let alice = User::register(&server, "alice").await.unwrap();
    let expected = json!({ "uris": ["turn:turn.example.org"], "username": "name",
                           "password": "word", "ttl": 86_400 });
    assert_eq!(alice.api.get(PATH).await.unwrap().ok().unwrap(), expected);
}
