//! GET /_matrix/client/v1/media/download/{serverName}/{mediaId}
//! GET /_matrix/client/v1/media/download/{serverName}/{mediaId}/{fileName}

use http::Method;
use serde_json::Value;
use starling_conformance::{
    client::{Answer, Api, User, path},
    evil::{Peer, Reply},
};

use super::{DOWNLOAD, download, header, of, upload};
use crate::support;

const NAMED: &str = "/_matrix/client/v1/media/download/{}/{}/{}";

#[tokio::test]
async fn headers_say_what_the_uploader_said_and_keep_browsers_safe() {
    let alice = support::user("alice").await;
    for (content_type, query, disposition) in [
        ("image/png", "?filename=a.png", "inline; filename=a.png"),
        ("text/html", "?filename=a%20b.html", "attachment; filename=\"a b.html\""),
        ("image/svg+xml", "", "attachment"),
        ("text/plain; charset=utf-8", "?filename=%E2%9C%93", "inline; filename*=utf-8''%E2%9C%93"),
    ] {
        let uri = upload(&alice, content_type, query, b"<b>").await;
        let answer = download(&alice.api, &uri).await.expect_status(200).unwrap();
        assert_eq!(header(&answer, "content-type"), content_type);
        assert_eq!(header(&answer, "content-disposition"), disposition);
        assert!(header(&answer, "content-security-policy").starts_with("sandbox;"));
        assert_eq!(header(&answer, "cross-origin-resource-policy"), "cross-origin");
        assert_eq!(header(&answer, "x-content-type-options"), "nosniff");
        assert_eq!(header(&answer, "access-control-allow-origin"), "*");
        let (origin, id) = uri.strip_prefix("mxc://").unwrap().split_once('/').unwrap();
        let renamed = alice.api.get(&path(NAMED, &[origin, id, "other.txt"])).await.unwrap();
        let renamed = renamed.expect_status(200).unwrap();
        assert!(header(&renamed, "content-disposition").ends_with("; filename=other.txt"));
    }
    let uri = upload(&alice, "not a type", "?filename=a%0Db", b"x").await;
    let answer = download(&alice.api, &uri).await.expect_status(200).unwrap();
    assert_eq!(header(&answer, "content-type"), "application/octet-stream");
    assert_eq!(header(&answer, "content-disposition"), "attachment");
}

#[tokio::test]
async fn a_part_can_be_had_and_what_is_known_is_not_sent_again() {
    let alice = support::user("alice").await;
    let uri = upload(&alice, "text/plain", "", b"0123456789").await;
    let get = async |name: &'static str, value: &str| {
        let target = of(DOWNLOAD, &uri);
        let request = alice.api.builder(Method::GET, &target).header(name, value);
        Answer::read(format!("GET {target}"), request).await.unwrap()
    };
    let part = get("Range", "bytes=2-4").await.expect_status(206).unwrap();
    assert_eq!(part.bytes, "234");
    assert_eq!(header(&part, "content-range"), "bytes 2-4/10");
    assert_eq!(get("Range", "bytes=-3").await.expect_status(206).unwrap().bytes, "789");
    assert_eq!(get("Range", "bytes=0-1,4-5").await.expect_status(200).unwrap().bytes, "0123456789");
    get("Range", "bytes=10-").await.expect_status(416).unwrap();
    let whole = get("Accept", "*/*").await.expect_status(200).unwrap();
    assert_eq!(header(&whole, "accept-ranges"), "bytes");
    let tag = header(&whole, "etag").to_owned();
    let known = get("If-None-Match", &tag).await.expect_status(304).unwrap();
    assert!(known.bytes.is_empty());
}

#[tokio::test]
async fn names_that_are_none_lead_nowhere() {
    let alice = support::user("alice").await;
    let here = support::server().await.name();
    for (origin, id) in [
        (here, "unknown"),
        (here, "../../../etc/passwd"),
        (here, "a\0b"),
        ("..", ".."),
        ("../..", "x"),
        ("", "x"),
        (here, "ä"),
    ] {
        let answer = alice.api.get(&path(DOWNLOAD, &[origin, id])).await.unwrap();
        assert_eq!(answer.status, 404, "{origin} {id}");
    }
    let long = "x".repeat(3_000);
    alice.api.get(&path(DOWNLOAD, &[here, &long])).await.unwrap().expect_status(404).unwrap();
    let anonymous = Api::new(support::server().await).unwrap();
    let uri = upload(&alice, "text/plain", "", b"x").await;
    download(&anonymous, &uri).await.expect_error(401, "M_MISSING_TOKEN").unwrap();
}

/// The file of a peer, as its server answers other servers.
pub(crate) fn parts(content_type: &str, bytes: &[u8]) -> Reply {
    let head = format!(
        "--cut\r\nContent-Type: application/json\r\n\r\n{{}}\r\n--cut\r\n\
         Content-Type: {content_type}\r\nContent-Disposition: inline; filename=\"far.txt\"\r\n\r\n"
    );
    let body = [head.as_bytes(), bytes, b"\r\n--cut--\r\n"].concat();
    Reply::Bytes(200, "multipart/mixed; boundary=cut", body.into())
}

async fn from_peer(user: &User, peer: &Peer, id: &str) -> Answer {
    user.api.get(&path(DOWNLOAD, &[&peer.name, id])).await.unwrap()
}

#[tokio::test]
async fn a_file_of_another_server_is_fetched_once() {
    let alice = support::user("alice").await;
    let peer = support::peer().await;
    peer.answer("download", parts("text/plain", b"far away"));
    let wanted = (0..5).map(|_| from_peer(&alice, &peer, "abc"));
    for answer in futures_util::future::join_all(wanted).await {
        let answer = answer.expect_status(200).unwrap();
        assert_eq!(answer.bytes, "far away");
        assert_eq!(header(&answer, "content-disposition"), "inline; filename=far.txt");
    }
    let asked = peer.seen("download");
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].path, "/_matrix/federation/v1/media/download/abc");
}

#[tokio::test]
async fn old_servers_are_asked_the_old_way_and_redirects_are_followed() {
    let alice = support::user("alice").await;
    let peer = support::peer().await;
    peer.script(|request| {
        if request.path.starts_with("/_matrix/media/v3/download/") {
            assert_eq!(request.parameters("allow_remote"), ["false"]);
            return Some(Reply::Bytes(200, "text/plain", "old".into()));
        }
        let download = request.path.starts_with("/_matrix/federation/v1/media/download/");
        download.then(|| Reply::error(404, "M_UNRECOGNIZED"))
    });
    assert_eq!(from_peer(&alice, &peer, "old").await.expect_status(200).unwrap().bytes, "old");
}

#[tokio::test]
async fn what_other_servers_refuse_or_garble_is_told_without_their_words() {
    let alice = support::user("alice").await;
    let peer = support::peer().await;
    let cut_off = Reply::Bytes(200, "multipart/mixed; boundary=cut", "--cut\r\n".into());
    let leads_inside = "--cut\r\nContent-Type: application/json\r\n\r\n{}\r\n--cut\r\n\
                        Location: http://127.0.0.1:1/\r\n\r\n\r\n--cut--\r\n";
    let leads_inside = Reply::Bytes(200, "multipart/mixed; boundary=cut", leads_inside.into());
    for (n, (reply, status, errcode)) in [
        (Reply::error(404, "M_NOT_FOUND"), 404, "M_NOT_FOUND"),
        (Reply::error(504, "M_NOT_YET_UPLOADED"), 504, "M_NOT_YET_UPLOADED"),
        (Reply::error(502, "M_TOO_LARGE"), 502, "M_TOO_LARGE"),
        (Reply::error(401, "M_UNKNOWN_TOKEN"), 502, "M_UNKNOWN"),
        (Reply::Json(200, Value::Null), 502, "M_UNKNOWN"),
        (cut_off, 502, "M_UNKNOWN"),
        (leads_inside, 502, "M_UNKNOWN"),
    ]
    .into_iter()
    .enumerate()
    {
        peer.answer("download", reply);
        let answer = from_peer(&alice, &peer, &format!("bad{n}")).await;
        answer.expect_error(status, errcode).unwrap();
        peer.be_honest();
    }
    let gone = alice.api.get(&path(DOWNLOAD, &["gone.invalid", "x"])).await.unwrap();
    gone.expect_error(502, "M_UNKNOWN").unwrap();
    for (reply, status, errcode) in [
        (Reply::error(504, "M_NOT_YET_UPLOADED"), 504, "M_NOT_YET_UPLOADED"),
        (Reply::error(502, "M_TOO_LARGE"), 502, "M_TOO_LARGE"),
    ] {
        peer.answer("download", reply);
        let answer = alice.api.get(&path(NAMED, &[&peer.name, "bad", "a.txt"])).await.unwrap();
        answer.expect_error(status, errcode).unwrap();
        peer.be_honest();
    }
}

#[tokio::test]
async fn a_file_that_is_too_large_is_not_passed_on() {
    let server = support::server_with(&[("MEDIA__MAX_REMOTE", "1 MiB")]).await;
    let alice = User::register(&server, "alice").await.unwrap();
    let peer = support::peer().await;
    peer.answer("download", parts("text/plain", &vec![b'x'; (1 << 20) + 1]));
    from_peer(&alice, &peer, "large").await.expect_error(502, "M_TOO_LARGE").unwrap();
    peer.answer("download", parts("text/plain", &vec![b'x'; 1 << 20]));
    from_peer(&alice, &peer, "fits").await.expect_status(200).unwrap();
}
