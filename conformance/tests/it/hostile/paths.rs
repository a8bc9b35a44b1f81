//! Lenient paths and framing: what stands in front of this server must not read a request otherwise
//! than it does.

use std::collections::BTreeSet;

use futures_util::{StreamExt as _, stream};
use starling_conformance::evil::Peer;

use super::wire::{exchange, get, statuses};
use crate::{
    nonsense::endpoints::{self, Endpoint},
    scene::assert_others_are_served,
    support,
};

/// How many connections are used at a time.
const AT_A_TIME: usize = 16;

/// The paths of a door, each with something that fits nowhere put in for its parameters.
fn paths(door: &str) -> BTreeSet<String> {
    endpoints::of(door).iter().map(|endpoint| filled(&endpoint.path)).collect()
}

fn filled(path: &str) -> String {
    path.split('/')
        .map(|part| if part.starts_with('{') { "x" } else { part })
        .collect::<Vec<_>>()
        .join("/")
}

/// Whether some endpoint of the door has this path, be it with nothing for a parameter.
fn is_routed(all: &[Endpoint], path: &str) -> bool {
    all.iter().any(|endpoint| {
        let mut parts = path.split('/');
        let fits = endpoint.path.split('/').all(|wanted| {
            let part = parts.next();
            part.is_some_and(|part| part == wanted || wanted.starts_with('{'))
        });
        fits && parts.next().is_none()
    })
}

/// The path with something more or less in it, none of which is the path of an endpoint.
fn spoilt(all: &[Endpoint], path: &str) -> Vec<String> {
    let ends_in_parameter = path.ends_with("/x");
    let mut spoilt = vec![
        format!("{path}/"),
        format!("{path}/extra"),
        format!("{path}//"),
        format!("{path}/."),
        format!("{path}/.."),
        format!("{path}/../x"),
        format!("/{path}"),
        format!("/x/..{path}"),
        path.replacen("/_matrix/", "/_matrix/inserted/", 1),
        path.replacen("/_matrix/", "/_matrix//", 1),
        path.replacen("/_matrix/", "/_matrix/./", 1),
        path.replacen("/_matrix/", "/_MATRIX/", 1),
        path.replacen("/_matrix/", "/_matrix%2f", 1),
        path.replacen("/_matrix/", "/%5fmatrix/", 1),
        path.replacen("/_matrix/", "/_matrix;a=b/", 1),
    ];
    if !ends_in_parameter {
        let more = [";x", "%2f", "%2fx", "%00", "%0a", "%20", ".json", "%3fx"];
        spoilt.extend(more.iter().map(|end| format!("{path}{end}")));
    }
    spoilt.retain(|spoilt| spoilt != path && !is_routed(all, spoilt));
    spoilt
}

#[tokio::test]
async fn a_path_of_the_client_api_is_that_path_and_no_other() {
    let server = support::server().await;
    let all = endpoints::of("client-api");
    let spoilt: Vec<String> =
        paths("client-api").iter().flat_map(|path| spoilt(&all, path)).collect();
    assert!(spoilt.len() > 2_000, "{}", spoilt.len());
    let wrong: Vec<String> = stream::iter(&spoilt)
        .map(async |path| {
            let (status, text) = get(server, path).await;
            let refused = status == 404 && text.contains("M_UNRECOGNIZED");
            (!refused).then(|| format!("{path}: {status}"))
        })
        .buffer_unordered(AT_A_TIME)
        .filter_map(async |wrong| wrong)
        .collect()
        .await;
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_others_are_served(server).await;
}

/// What the HTTP library of the peer tidies up is tried on the other listener only.
#[tokio::test]
async fn a_path_of_the_server_api_is_that_path_and_no_other() {
    let (server, peer) = (support::server().await, support::peer().await);
    let all = endpoints::of("federation");
    let mut tried = 0;
    for path in paths("federation") {
        for spoilt in spoilt(&all, &path).iter().filter(|path| !path.contains("/.")) {
            let status = status(&peer, spoilt).await;
            assert_eq!(status, 404, "{spoilt}");
            tried += 1;
        }
    }
    assert!(tried > 300, "{tried}");
    assert_others_are_served(server).await;
}

async fn status(peer: &Peer, path: &str) -> u16 {
    let server = support::server().await;
    peer.get(server, path).await.unwrap().status
}

/// What follows a request whose end is doubtful is not taken for another one.
#[tokio::test]
async fn a_request_ends_where_everybody_sees_it_end() {
    // Whatever is still waited for is given up soon, and the connection with it.
    let waiting = [("LIMITS__HEADER_SECONDS", "1"), ("LIMITS__BODY_SECONDS", "1")];
    let server = &support::server_with(&waiting).await;
    let hidden = "GET /_matrix/client/versions HTTP/1.1\r\nhost: x\r\n\r\n";
    let chunk = "0\r\n\r\n";
    for (name, head) in [
        ("length, then chunks", "content-length: 5\r\ntransfer-encoding: chunked\r\n"),
        ("chunks, then length", "transfer-encoding: chunked\r\ncontent-length: 5\r\n"),
        ("two lengths", "content-length: 5\r\ncontent-length: 50\r\n"),
        ("two lengths in one", "content-length: 5, 50\r\n"),
        ("a length with a sign", "content-length: +5\r\n"),
        ("a negative length", "content-length: -1\r\n"),
        ("a length in words", "content-length: five\r\n"),
        ("a length in sixteens", "content-length: 0x5\r\n"),
        ("a length beyond all", "content-length: 99999999999999999999999\r\n"),
        ("an empty length", "content-length: \r\n"),
        ("an unknown coding", "transfer-encoding: xchunked\r\n"),
        ("a coding after chunks", "transfer-encoding: chunked, gzip\r\n"),
        ("chunks twice", "transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n"),
        ("chunks and more", "transfer-encoding: chunked\r\ntransfer-encoding: identity\r\n"),
        ("chunks with a tab before", "transfer-encoding:\tchunked\r\ncontent-length: 5\r\n"),
        ("a space before the colon", "transfer-encoding : chunked\r\ncontent-length: 5\r\n"),
        ("a folded line", "x: a\r\n content-length: 5\r\n"),
        ("a folded coding", "transfer-encoding:\r\n chunked\r\n"),
        ("a bare line feed", "content-length: 5\ntransfer-encoding: chunked\r\n"),
        ("a bare carriage return", "x: a\rcontent-length: 5\r\n"),
        ("a NUL", "content-length: 5\0\r\n"),
        ("no name", ": 5\r\n"),
    ] {
        let request = format!(
            "POST /_matrix/client/v3/login HTTP/1.1\r\nhost: x\r\n\
             content-type: application/json\r\n{head}\r\n{chunk}{hidden}"
        );
        let text = exchange(server, request.as_bytes()).await;
        let answers = statuses(&text);
        assert!(answers.len() <= 1, "{name}: what was hidden was answered: {answers:?}");
        assert!(answers.iter().all(|status| (400..500).contains(status)), "{name}: {answers:?}");
        assert!(!text.contains("unstable_features"), "{name}");
    }
    for (name, body) in [
        ("a chunk without end", "5\r\nhello"),
        ("a chunk with a sign", "+0\r\n\r\n"),
        ("a chunk in words", "zero\r\n\r\n"),
        ("a chunk beyond all", "ffffffffffffffffff\r\n\r\n"),
        ("a chunk that is longer than it says", "1\r\nhello\r\n0\r\n\r\n"),
        ("line feeds alone", "0\n\n"),
        ("a chunk with an extension", "0;a=\"\r\n\r\n\"\r\n\r\n"),
    ] {
        let request = format!(
            "POST /_matrix/client/v3/login HTTP/1.1\r\nhost: x\r\n\
             transfer-encoding: chunked\r\n\r\n{body}{hidden}"
        );
        let text = exchange(server, request.as_bytes()).await;
        assert!(!text.contains("unstable_features"), "{name}: what was hidden was answered");
        assert!(statuses(&text).iter().all(|status| (400..500).contains(status)), "{name}: {text}");
    }
    let (status, _) = get(server, "/_matrix/client/versions").await;
    assert_eq!(status, 200);
}

/// Nobody gets back much more than they sent, whatever they say that they can unpack.
#[tokio::test]
async fn answers_are_not_packed() {
    let api = support::anonymous().await;
    for coding in ["gzip", "br", "deflate", "zstd", "gzip, br;q=1.0, *;q=0.5"] {
        let request = api.builder(http::Method::GET, "/_matrix/client/versions");
        let answer = request.header("Accept-Encoding", coding).send().await.unwrap();
        assert!(!answer.headers().contains_key("content-encoding"), "{coding}");
    }
}
