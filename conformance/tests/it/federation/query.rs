//! GET /_matrix/key/v2/query/{serverName}
//! POST /_matrix/key/v2/query

mod directory;
mod profile;

use http::Method;
use serde_json::{Map, Value, json};
use starling_conformance::{client::path, evil::Peer};

use crate::support;

const QUERY: &str = "/_matrix/key/v2/query";

async fn ask(peer: &Peer, wanted: Value) -> Value {
    let (server, body) = (support::server().await, json!({ "server_keys": wanted }));
    let answer = peer.request_as(server, Method::POST, QUERY, Some(&body), None).await.unwrap();
    answer.ok().unwrap()["server_keys"].clone()
}

async fn ask_about(peer: &Peer, name: &str) -> Value {
    let target = path("/_matrix/key/v2/query/{}", &[name]);
    let server = support::server().await;
    let answer = peer.request_as(server, Method::GET, &target, None, None).await.unwrap();
    answer.ok().unwrap()["server_keys"].clone()
}

#[tokio::test]
async fn the_keys_of_a_server_that_spoke_to_us_are_vouched_for() {
    let (server, peer) = (support::server().await, support::peer().await);
    assert_eq!(ask_about(&peer, &peer.name).await, json!([]));
    peer.get(server, "/_matrix/federation/v1/query/directory?room_alias=%23a%3Ab").await.unwrap();
    let by_key = json!({ &peer.name: { &peer.key.id: { "minimum_valid_until_ts": 1 } } });
    for found in [ask_about(&peer, &peer.name).await, ask(&peer, by_key).await] {
        assert_eq!(found.as_array().unwrap().len(), 1, "{found}");
        assert_eq!(found[0]["server_name"], peer.name.as_str());
        assert!(found[0]["verify_keys"].get(&peer.key.id).is_some());
        for signer in [&peer.name, server.name()] {
            assert!(found[0]["signatures"].get(signer).is_some(), "{signer}: {found}");
        }
    }
    assert_eq!(ask(&peer, json!({ &peer.name: { "ed25519:other": {} } })).await, json!([]));
}

#[tokio::test]
async fn our_own_keys_are_among_what_is_told() {
    let (server, peer) = (support::server().await, support::peer().await);
    let found = ask(&peer, json!({ server.name(): {} })).await;
    assert_eq!(found[0]["server_name"], server.name());
    assert_eq!(ask(&peer, json!({})).await, json!([]));
}

/// Strangers cannot make us connect to whatever they name.
#[tokio::test]
async fn nobody_else_is_asked() {
    let (peer, victim) = (support::peer().await, support::peer().await);
    for name in [victim.name.as_str(), "127.0.0.1:22", "[::1]:22", "169.254.169.254"] {
        assert_eq!(ask_about(&peer, name).await, json!([]));
        assert_eq!(ask(&peer, json!({ name: {} })).await, json!([]));
    }
    assert!(victim.seen("key").is_empty());
}

#[tokio::test]
async fn senseless_queries_are_refused() {
    let (server, peer) = (support::server().await, support::peer().await);
    let many: Map<String, Value> =
        (0..101).map(|n| (format!("{n}.example.org"), json!({}))).collect();
    for (body, status) in [
        (json!({ "server_keys": many }), 413),
        (json!({ "server_keys": [] }), 400),
        (json!({ "server_keys": { "not a name": {} } }), 400),
        (json!({ "server_keys": { "a.example.org": { "ed25519:1": 1 } } }), 400),
        (json!({}), 400),
        (json!([]), 400),
    ] {
        let answer = peer.request_as(server, Method::POST, QUERY, Some(&body), None).await;
        assert_eq!(answer.unwrap().status, status, "{body}");
    }
}

#[tokio::test]
async fn questions_of_no_known_kind_are_not_recognized() {
    let (server, peer) = (support::server().await, support::peer().await);
    for kind in ["org.example.kind", "directory/more", "Profile"] {
        let target = format!("/_matrix/federation/v1/query/{kind}?a=b");
        let answer = peer.get(server, &target).await.unwrap();
        answer.expect_error(404, "M_UNRECOGNIZED").unwrap();
    }
    let target = "/_matrix/federation/v1/query/directory";
    peer.get(server, target).await.unwrap().expect_error(400, "M_MISSING_PARAM").unwrap();
}

#[tokio::test]
async fn what_is_no_type_of_query_is_not_known() {
    let (server, peer) = (support::server().await, support::peer().await);
    let answer = peer.get(server, "/_matrix/federation/v1/query/weather").await.unwrap();
    answer.expect_error(404, "M_UNRECOGNIZED").unwrap();
}
