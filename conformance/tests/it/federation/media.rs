//! GET /_matrix/federation/v1/media/download/{mediaId}
//! GET /_matrix/federation/v1/media/thumbnail/{mediaId}

use futures_util::future::join_all;
use http::Method;
use serde_json::json;
use starling_conformance::client::{Answer, text};

use crate::{client::media::thumbnail::bomb, support};

const DOWNLOAD: &str = "/_matrix/federation/v1/media/download";
const THUMBNAIL: &str = "/_matrix/federation/v1/media/thumbnail";

/// The head and the bytes of the second of two parts.
pub(crate) fn file(answer: &Answer) -> (String, Vec<u8>) {
    let kind = answer.headers["content-type"].to_str().unwrap();
    let boundary = kind.strip_prefix("multipart/mixed; boundary=").unwrap();
    let delimiter = format!("\r\n--{boundary}");
    let all = [b"\r\n".as_slice(), &answer.bytes].concat();
    let at = |from: usize| {
        let found = all[from..].windows(delimiter.len()).position(|it| it == delimiter.as_bytes());
        from + found.unwrap()
    };
    let (first, length) = (at(0), delimiter.len());
    let second = at(first + length);
    let end = at(second + length);
    assert_eq!(all[end + length..], *b"--\r\n");
    let about = String::from_utf8(all[first + length..second].to_vec()).unwrap();
    assert_eq!(about, "\r\nContent-Type: application/json\r\n\r\n{}");
    let part = &all[second + length..end];
    let head = part.windows(4).position(|it| it == b"\r\n\r\n").unwrap();
    (String::from_utf8(part[..head].to_vec()).unwrap(), part[head + 4..].to_vec())
}

#[tokio::test]
async fn other_servers_get_files_of_this_one_in_two_parts() {
    let (server, peer) = (support::server().await, support::peer().await);
    let alice = support::user("alice").await;
    let upload = async |content_type, bytes: Vec<u8>| {
        let target = "/_matrix/media/v3/upload?filename=a.txt";
        let answer = alice.api.raw(Method::POST, target, content_type, bytes).await.unwrap();
        let answer = answer.ok().unwrap();
        let uri = text(&answer, "/content_uri").unwrap();
        uri.rsplit('/').next().unwrap().to_owned()
    };
    let id = upload("text/plain", b"hello\r\n--".to_vec()).await;
    let answer = peer.get(server, &format!("{DOWNLOAD}/{id}")).await.unwrap();
    let (head, bytes) = file(&answer.expect_status(200).unwrap());
    assert_eq!(bytes, b"hello\r\n--");
    assert!(head.contains("Content-Type: text/plain\r\n"), "{head}");
    assert!(head.contains("filename=a.txt"), "{head}");

    let picture = image::RgbImage::from_pixel(200, 100, image::Rgb([1, 2, 3]));
    let mut png = std::io::Cursor::new(Vec::new());
    picture.write_to(&mut png, image::ImageFormat::Png).unwrap();
    let png_id = upload("image/png", png.into_inner()).await;
    let target = format!("{THUMBNAIL}/{png_id}?width=32&height=32&method=crop");
    let answer = peer.get(server, &target).await.unwrap().expect_status(200).unwrap();
    let small = image::load_from_memory(&file(&answer).1).unwrap();
    assert_eq!((small.width(), small.height()), (32, 32));

    for (target, status, errcode) in [
        (format!("{DOWNLOAD}/unknown"), 404, "M_NOT_FOUND"),
        (format!("{DOWNLOAD}/a%2Fb"), 404, "M_NOT_FOUND"),
        (format!("{THUMBNAIL}/unknown?width=32&height=32"), 404, "M_NOT_FOUND"),
        (format!("{THUMBNAIL}/{id}?width=32&height=32"), 400, "M_UNKNOWN"),
        (format!("{THUMBNAIL}/{id}?width=-1&height=32"), 400, "M_INVALID_PARAM"),
    ] {
        let answer = peer.get(server, &target).await.unwrap();
        answer.expect_error(status, errcode).unwrap();
    }
    let bomb = upload("image/png", bomb()).await;
    let refused = peer.get(server, &format!("{THUMBNAIL}/{bomb}?width=32&height=32")).await;
    refused.unwrap().expect_error(413, "M_TOO_LARGE").unwrap();
    let promised = alice.api.post("/_matrix/media/v1/create", json!({})).await.unwrap().ok();
    let promised = promised.unwrap()["content_uri"].as_str().unwrap().to_owned();
    let promised = promised.rsplit('/').next().unwrap();
    for (path, more) in [(DOWNLOAD, ""), (THUMBNAIL, "&width=32&height=32")] {
        let early = peer.get(server, &format!("{path}/{promised}?timeout_ms=0{more}")).await;
        early.unwrap().expect_error(504, "M_NOT_YET_UPLOADED").unwrap();
    }
    let unsigned = support::anonymous().await;
    let answer = unsigned.get(&format!("{DOWNLOAD}/{id}")).await.unwrap();
    assert!(matches!(answer.status, 401 | 404), "{}", answer.status);
}

#[tokio::test]
async fn a_server_that_asks_for_files_too_often_is_told_to_wait() {
    let settings = [
        ("RATE_LIMITS__ENABLED", "true"),
        ("RATE_LIMITS__REQUESTS_BY_SERVER__BURST", "1"),
        ("RATE_LIMITS__REQUESTS_BY_SERVER__PER_SECOND", "1"),
    ];
    let server = support::server_with(&settings).await;
    for target in [format!("{DOWNLOAD}/x"), format!("{THUMBNAIL}/x?width=32&height=32")] {
        let peer = support::peer().await;
        let answers = join_all((0..20).map(|_| peer.get(&server, &target))).await;
        let refused = answers.into_iter().map(Result::unwrap).find(|answer| answer.status != 404);
        let refused = refused.unwrap().expect_error(429, "M_LIMIT_EXCEEDED").unwrap();
        assert!(refused["retry_after_ms"].as_u64().is_some_and(|wait| wait <= 1_000));
    }
}
