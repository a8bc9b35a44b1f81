//! GET /_matrix/media/v3/config
//! GET /_matrix/media/v3/download/{serverName}/{mediaId}
//! GET /_matrix/media/v3/download/{serverName}/{mediaId}/{fileName}
//! GET /_matrix/media/v3/thumbnail/{serverName}/{mediaId}

use serde_json::json;
use starling_conformance::{
    client::{Api, User, path},
    evil::Reply,
};

use super::{download::parts, header, of, picture, thumbnail::bomb, upload};
use crate::support;

const DOWNLOAD: &str = "/_matrix/media/v3/download/{}/{}";
const NAMED: &str = "/_matrix/media/v3/download/{}/{}/{}";
const THUMBNAIL: &str = "/_matrix/media/v3/thumbnail/{}/{}";

#[tokio::test]
async fn new_files_are_for_those_who_are_logged_in() {
    let alice = support::user("alice").await;
    let anonymous = support::anonymous().await;
    let uri = upload(&alice, "image/png", "", &picture(50, 50)).await;
    for target in [of(DOWNLOAD, &uri), format!("{}?width=32&height=32", of(THUMBNAIL, &uri))] {
        let answer = anonymous.get(&target).await.unwrap();
        answer.expect_error(404, "M_NOT_FOUND").unwrap();
    }
    let peer = support::peer().await;
    let remote = anonymous.get(&path(DOWNLOAD, &[&peer.name, "x"])).await.unwrap();
    remote.expect_error(404, "M_NOT_FOUND").unwrap();
    assert!(peer.seen("download").is_empty());
}

#[tokio::test]
async fn as_long_as_the_administrator_wants_it_anybody_gets_files() {
    let server = support::server_with(&[("MEDIA__FREEZE_LEGACY", "false")]).await;
    let alice = User::register(&server, "alice").await.unwrap();
    let anonymous = Api::new(&server).unwrap();
    let uri = upload(&alice, "image/png", "", &picture(50, 50)).await;
    let (origin, id) = uri.strip_prefix("mxc://").unwrap().split_once('/').unwrap();
    for target in [of(DOWNLOAD, &uri), path(NAMED, &[origin, id, "b.png"])] {
        let answer = anonymous.get(&target).await.unwrap().expect_status(200).unwrap();
        assert_eq!(answer.bytes, picture(50, 50));
        assert!(header(&answer, "cache-control").starts_with("public"));
        for old in ["/_matrix/media/r0/", "/_matrix/media/v1/"] {
            let target = target.replacen("/_matrix/media/v3/", old, 1);
            assert_eq!(anonymous.get(&target).await.unwrap().status, 200, "{target}");
        }
    }
    let small = format!("{}?width=32&height=32&method=crop", of(THUMBNAIL, &uri));
    let answer = anonymous.get(&small).await.unwrap().expect_status(200).unwrap();
    assert_eq!(image::load_from_memory(&answer.bytes).unwrap().width(), 32);
    let unknown = anonymous.get(&path(DOWNLOAD, &[origin, "unknown"])).await.unwrap();
    unknown.expect_error(404, "M_NOT_FOUND").unwrap();
    let config = alice.api.get("/_matrix/media/v3/config").await.unwrap().ok().unwrap();
    assert_eq!(config, json!({ "m.upload.size": 50 << 20 }));
    let created = alice.api.post("/_matrix/media/v1/create", json!({})).await.unwrap().ok();
    let promised = created.unwrap()["content_uri"].as_str().unwrap().to_owned();
    let (_, promised_id) = promised.strip_prefix("mxc://").unwrap().split_once('/').unwrap();
    let promised_name = path(NAMED, &[origin, promised_id, "b.png"]);
    for target in [of(DOWNLOAD, &promised), of(THUMBNAIL, &promised), promised_name] {
        let target = format!("{target}?timeout_ms=0&width=32&height=32");
        let early = anonymous.get(&target).await.unwrap();
        early.expect_error(504, "M_NOT_YET_UPLOADED").unwrap();
    }
    let unknown = anonymous.get(&path(NAMED, &[origin, "unknown", "b.png"])).await.unwrap();
    unknown.expect_error(404, "M_NOT_FOUND").unwrap();
    let text = upload(&alice, "text/plain", "", b"no picture").await;
    let refused = anonymous.get(&format!("{}?width=32&height=32", of(THUMBNAIL, &text))).await;
    refused.unwrap().expect_error(400, "M_UNKNOWN").unwrap();
}

#[tokio::test]
async fn what_is_too_large_or_does_not_come_is_told_to_anybody() {
    let server = support::server_with(&[("MEDIA__FREEZE_LEGACY", "false")]).await;
    let alice = User::register(&server, "alice").await.unwrap();
    let anonymous = Api::new(&server).unwrap();
    let uri = upload(&alice, "image/png", "", &bomb()).await;
    let small = |target: String| format!("{target}?width=32&height=32");
    let refused = anonymous.get(&small(of(THUMBNAIL, &uri))).await.unwrap();
    refused.expect_error(413, "M_TOO_LARGE").unwrap();
    let peer = support::peer().await;
    peer.answer("download", Reply::error(502, "M_TOO_LARGE"));
    for target in [path(DOWNLOAD, &[&peer.name, "x"]), path(NAMED, &[&peer.name, "x", "b.png"])] {
        let refused = anonymous.get(&target).await.unwrap();
        refused.expect_error(502, "M_TOO_LARGE").unwrap();
        let refused = anonymous.get(&format!("{target}?allow_remote=false")).await.unwrap();
        refused.expect_error(404, "M_NOT_FOUND").unwrap();
    }
    peer.be_honest();
    peer.answer("download", parts("image/png", &bomb()));
    let refused = anonymous.get(&small(path(THUMBNAIL, &[&peer.name, "bomb"]))).await.unwrap();
    refused.expect_error(502, "M_TOO_LARGE").unwrap();
}
