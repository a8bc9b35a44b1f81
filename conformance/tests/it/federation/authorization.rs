//! The `Authorization: X-Matrix` header of every endpoint.

use http::Method;
use serde_json::{Value, json};
use starling_conformance::{
    client::path,
    evil::{Key, Peer},
    servers::Server,
};

use crate::{scene::assert_others_are_served, support};

const TARGET: &str = "/_matrix/federation/v1/query/profile?user_id=%40nobody%3Aexample.org";

async fn status(peer: &Peer, server: &Server, authorization: &str) -> u16 {
    let answer =
        peer.request_as(server, Method::GET, TARGET, None, Some(authorization)).await.unwrap();
    assert!(answer.status < 500, "{authorization}: {answer:?}");
    answer.status
}

fn parameters(peer: &Peer, server: &Server) -> [(&'static str, String); 4] {
    let signed = peer.key.authorization(&peer.name, server.name(), "GET", TARGET, None).unwrap();
    let signature = signed.split("sig=\"").nth(1).unwrap().trim_end_matches('"').to_owned();
    [
        ("origin", peer.name.clone()),
        ("destination", server.name().to_owned()),
        ("key", peer.key.id.clone()),
        ("sig", signature),
    ]
}

#[tokio::test]
async fn the_header_is_read_as_http_allows_it_to_be_written() {
    let (server, peer) = (support::server().await, support::peer().await);
    let [origin, destination, key, sig] = parameters(&peer, server).map(|(_, value)| value);
    for header in [
        format!(
            r#"X-Matrix origin="{origin}",destination="{destination}",key="{key}",sig="{sig}""#
        ),
        format!(
            r#"X-Matrix sig="{sig}",key="{key}",destination="{destination}",origin="{origin}""#
        ),
        format!(
            r#"X-Matrix origin="{origin}", destination="{destination}" , key="{key}",sig="{sig}""#
        ),
        format!(
            r#"x-matrix ORIGIN="{origin}",Destination="{destination}",KEY="{key}",Sig="{sig}""#
        ),
        format!(
            r#"X-Matrix   origin="{origin}",destination="{destination}",key="{key}",sig="{sig}""#
        ),
        format!(
            r#"X-Matrix origin="{origin}",unknown="value",destination="{destination}",key="{key}",sig="{sig}""#
        ),
        format!(r#"X-Matrix origin="{origin}",key="{key}",sig="{sig}""#),
    ] {
        let status = status(&peer, server, &header).await;
        // Authenticated, and the user is not of this server.
        assert!(matches!(status, 400 | 404), "{header}: {status}");
    }
}

#[tokio::test]
async fn who_is_not_proven_is_not_served() {
    let (server, peer) = (support::server().await, support::peer().await);
    let given = parameters(&peer, server);
    let header = |change: &dyn Fn(&str, &str) -> Option<String>| {
        let parts = given.iter().filter_map(|(name, value)| {
            change(name, value).map(|value| format!(r#"{name}="{value}""#))
        });
        format!("X-Matrix {}", parts.collect::<Vec<_>>().join(","))
    };
    let with = |name: &'static str, other: &str| {
        let other = other.to_owned();
        header(&move |key, value| Some(if key == name { other.clone() } else { value.to_owned() }))
    };
    let without =
        |name: &'static str| header(&move |key, value| (key != name).then(|| value.to_owned()));
    let other_key = Key::new().unwrap();
    let unpublished =
        other_key.authorization(&peer.name, server.name(), "GET", TARGET, None).unwrap();
    let sign = |method: &str, target: &str, content: Option<&Value>| {
        peer.key.authorization(&peer.name, server.name(), method, target, content).unwrap()
    };
    let for_another = peer.key.authorization(&peer.name, "elsewhere.example", "GET", TARGET, None);
    for header in [
        String::new(),
        "Bearer token".to_owned(),
        "X-Matrix".to_owned(),
        "X-Matrix ".to_owned(),
        "X-Matrix nonsense".to_owned(),
        "X-Matrix ,,,,".to_owned(),
        "X-Matrix origin=\"unfinished".to_owned(),
        without("origin"),
        without("key"),
        without("sig"),
        with("origin", server.name()),
        with("origin", "elsewhere.example"),
        with("origin", "no server name"),
        with("origin", ""),
        with("destination", "elsewhere.example"),
        with("key", "ed25519:unknown"),
        with("key", "rsa:1"),
        with("key", ""),
        with("sig", ""),
        with("sig", "not base64!"),
        with("sig", "AAAA"),
        with("sig", &"A".repeat(86)),
        unpublished,
        sign("PUT", TARGET, None),
        sign("GET", "/_matrix/federation/v1/version", None),
        // The same address, written otherwise.
        sign("GET", "/_matrix/federation/v1/query/profile?user_id=@nobody:example.org", None),
        sign("GET", TARGET, Some(&json!({}))),
        for_another.unwrap(),
        "x".repeat(10_000),
    ] {
        let status = status(&peer, server, &header).await;
        assert!(matches!(status, 400 | 401 | 403), "{header}: {status}");
    }
    let answer = peer.request_as(server, Method::GET, TARGET, None, None).await.unwrap();
    answer.expect_error(401, "M_UNAUTHORIZED").unwrap();
    assert_others_are_served(server).await;
}

#[tokio::test]
async fn a_body_is_the_one_that_was_signed() {
    let (server, peer) = (support::server().await, support::peer().await);
    let target = path("/_matrix/federation/v1/send/{}", &["body"]);
    let body =
        |origin: &str| json!({ "origin": origin, "origin_server_ts": 1, "pdus": [], "edus": [] });
    let signed =
        peer.key.authorization(&peer.name, server.name(), "PUT", &target, Some(&body(&peer.name)));
    let signed = signed.unwrap();
    let send = async |body: &Value| {
        peer.request_as(server, Method::PUT, &target, Some(body), Some(&signed)).await.unwrap()
    };
    let changed = json!({ "origin": peer.name, "origin_server_ts": 2, "pdus": [], "edus": [] });
    for odd in [changed, json!({}), json!([]), json!("text"), Value::Null] {
        let answer = send(&odd).await;
        assert!(matches!(answer.status, 400 | 401 | 403), "{odd}: {answer:?}");
    }
    for raw in ["", "{", "not JSON", "\u{feff}{}", "{} {}"] {
        let request = peer.builder(server, Method::PUT, &target).header("Authorization", &signed);
        let answer = request.body(raw).send().await.unwrap();
        assert!(matches!(answer.status().as_u16(), 400 | 401 | 403), "{raw:?}: {answer:?}");
    }
    assert_eq!(send(&body(&peer.name)).await.status, 200);
    // In whose name the transaction speaks is not for its body to say.
    let other = body("elsewhere.example");
    let other = peer.put(server, "/_matrix/federation/v1/send/other", &other).await.unwrap();
    assert!(other.status < 500, "{other:?}");
    assert_others_are_served(server).await;
}
