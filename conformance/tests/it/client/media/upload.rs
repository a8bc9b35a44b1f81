//! POST /_matrix/media/v3/upload
//! PUT /_matrix/media/v3/upload/{serverName}/{mediaId}
//! POST /_matrix/media/v1/create

use http::Method;
use serde_json::json;
use starling_conformance::client::{Answer, User, path, text};

use super::{download, of, upload};
use crate::support;

const CREATE: &str = "/_matrix/media/v1/create";
const FILL: &str = "/_matrix/media/v3/upload/{}/{}";

async fn fill(user: &User, uri: &str, bytes: &'static [u8]) -> Answer {
    user.api.raw(Method::PUT, &of(FILL, uri), "text/plain", bytes).await.unwrap()
}

async fn create(user: &User) -> String {
    let answer = user.api.post(CREATE, json!({})).await.unwrap().ok().unwrap();
    assert!(answer["unused_expires_at"].is_i64());
    text(&answer, "/content_uri").unwrap().to_owned()
}

#[tokio::test]
async fn what_is_uploaded_is_downloaded_unchanged() {
    let alice = support::user("alice").await;
    let bytes: Vec<u8> = (0..300_000_u32).map(|n| u8::try_from(n % 251).unwrap()).collect();
    let uri = upload(&alice, "application/x-test", "?filename=a.bin", &bytes).await;
    let answer = download(&alice.api, &uri).await.expect_status(200).unwrap();
    assert_eq!(answer.bytes, bytes);
    let nothing = upload(&alice, "text/plain", "", b"").await;
    assert!(download(&alice.api, &nothing).await.expect_status(200).unwrap().bytes.is_empty());
}

#[tokio::test]
async fn an_address_is_promised_and_used_once_by_who_promised_it() {
    let (alice, bob) = (support::user("alice").await, support::user("bob").await);
    let uri = create(&alice).await;
    let early = alice.api.get(&format!("{}?timeout_ms=0", of(super::DOWNLOAD, &uri))).await;
    early.unwrap().expect_error(504, "M_NOT_YET_UPLOADED").unwrap();
    fill(&bob, &uri, b"no").await.expect_error(403, "M_FORBIDDEN").unwrap();
    // Who waits gets it when it is there.
    let (waited, filled) = tokio::join!(download(&bob.api, &uri), fill(&alice, &uri, b"hello"));
    filled.ok().unwrap();
    assert_eq!(waited.expect_status(200).unwrap().bytes, "hello");
    let twice = fill(&alice, &uri, b"again").await;
    twice.expect_error(409, "M_CANNOT_OVERWRITE_MEDIA").unwrap();
    let here = support::server().await.name();
    for (origin, id) in [(here, "unknown"), ("elsewhere.example", "x"), (here, "..%2f..")] {
        let target = path(FILL, &[origin, id]);
        let answer = alice.api.raw(Method::PUT, &target, "text/plain", "x").await.unwrap();
        answer.expect_error(404, "M_NOT_FOUND").unwrap();
    }
}

#[tokio::test]
async fn promises_are_bounded() {
    let alice = support::user("alice").await;
    for _ in 0..100 {
        create(&alice).await;
    }
    let refused = alice.api.post(CREATE, json!({})).await.unwrap();
    refused.expect_error(429, "M_LIMIT_EXCEEDED").unwrap();
}

#[tokio::test]
async fn nobody_uploads_more_than_they_may() {
    let settings = [("MEDIA__MAX_UPLOAD", "1 MiB"), ("MEDIA__QUOTA_PER_USER", "2 MiB")];
    let server = support::server_with(&settings).await;
    let alice = User::register(&server, "alice").await.unwrap();
    let config = alice.api.get("/_matrix/client/v1/media/config").await.unwrap().ok().unwrap();
    assert_eq!(config["m.upload.size"], 1 << 20);
    let put = async |size: usize| {
        let body = vec![b'x'; size];
        alice.api.raw(Method::POST, super::UPLOAD, "text/plain", body).await.unwrap()
    };
    put((1 << 20) + 1).await.expect_error(413, "M_TOO_LARGE").unwrap();
    let promised = create(&alice).await;
    let large = vec![b'x'; (1 << 20) + 1];
    let answer = alice.api.raw(Method::PUT, &of(FILL, &promised), "text/plain", large).await;
    answer.unwrap().expect_error(413, "M_TOO_LARGE").unwrap();
    put(1 << 20).await.ok().unwrap();
    put(1 << 20).await.ok().unwrap();
    put(1).await.expect_error(403, "M_FORBIDDEN").unwrap();
    let refused = alice.api.post(CREATE, json!({})).await.unwrap();
    refused.expect_error(403, "M_FORBIDDEN").unwrap();
    fill(&alice, &promised, b"x").await.expect_error(403, "M_FORBIDDEN").unwrap();
}

#[tokio::test]
async fn files_survive_a_restart() {
    let server = support::server_with(&[]).await;
    let alice = User::register(&server, "alice").await.unwrap();
    let uri = upload(&alice, "text/plain", "?filename=kept.txt", b"kept").await;
    let promised = create(&alice).await;
    server.kill().unwrap();
    server.resume().await.unwrap();
    let answer = download(&alice.api, &uri).await.expect_status(200).unwrap();
    assert_eq!(answer.bytes, "kept");
    fill(&alice, &promised, b"later").await.ok().unwrap();
    assert_eq!(download(&alice.api, &promised).await.expect_status(200).unwrap().bytes, "later");
}
