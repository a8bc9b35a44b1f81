//! GET /_matrix/client/v1/media/thumbnail/{serverName}/{mediaId}

use starling_conformance::{
    client::{Answer, User, path},
    evil::Reply,
};

use super::{header, of, picture, upload};
use crate::support;

const THUMBNAIL: &str = "/_matrix/client/v1/media/thumbnail/{}/{}";

async fn thumbnail(user: &User, uri: &str, query: &str) -> Answer {
    user.api.get(&format!("{}?{query}", of(THUMBNAIL, uri))).await.unwrap()
}

fn size(answer: &Answer) -> (u32, u32) {
    let picture = image::load_from_memory(&answer.bytes).unwrap();
    (picture.width(), picture.height())
}

#[tokio::test]
async fn pictures_are_made_smaller() {
    let alice = support::user("alice").await;
    let uri = upload(&alice, "image/png", "?filename=a.png", &picture(500, 250)).await;
    for (query, expected) in [
        ("width=32&height=32&method=crop", (32, 32)),
        ("width=96&height=96&method=scale", (96, 48)),
        ("width=300&height=200", (320, 160)),
        ("width=1000&height=1000", (500, 250)),
        ("width=5000&height=5000", (500, 250)),
    ] {
        for _ in 0..2 {
            let answer = thumbnail(&alice, &uri, query).await.expect_status(200).unwrap();
            assert_eq!(size(&answer), expected, "{query}");
            assert_eq!(header(&answer, "content-type"), "image/png");
            assert_eq!(header(&answer, "content-disposition"), "inline; filename=thumbnail.png");
            assert!(header(&answer, "content-security-policy").starts_with("sandbox;"));
        }
    }
}

/// A GIF of so many frames.
fn moving(frames: u8) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = image::codecs::gif::GifEncoder::new(&mut bytes);
    for number in 0..frames {
        let noise = |x: u32, y: u32| [(x * 7 + y * 13) as u8, number * 50, (x * y) as u8, 255];
        let picture = image::RgbaImage::from_fn(120, 60, |x, y| image::Rgba(noise(x, y)));
        encoder.encode_frame(image::Frame::new(picture)).unwrap();
    }
    drop(encoder);
    bytes
}

#[tokio::test]
async fn pictures_move_only_if_that_is_wanted() {
    use image::AnimationDecoder as _;
    let alice = support::user("alice").await;
    let uri = upload(&alice, "image/gif", "", &moving(3)).await;
    for query in ["", "&animated=false"] {
        let query = format!("width=32&height=32{query}");
        let answer = thumbnail(&alice, &uri, &query).await.expect_status(200).unwrap();
        assert_eq!((size(&answer), header(&answer, "content-type")), ((32, 16), "image/png"));
    }
    for _ in 0..2 {
        let query = "width=32&height=32&animated=true";
        let answer = thumbnail(&alice, &uri, query).await.expect_status(200).unwrap();
        assert_eq!((size(&answer), header(&answer, "content-type")), ((32, 16), "image/gif"));
        let bytes = std::io::Cursor::new(answer.bytes);
        let frames = image::codecs::gif::GifDecoder::new(bytes).unwrap().into_frames();
        assert_eq!(frames.count(), 3);
    }
    // What cannot move is as if that had not been wanted.
    let still = upload(&alice, "image/png", "", &picture(50, 50)).await;
    let answer = thumbnail(&alice, &still, "width=32&height=32&animated=true").await;
    assert_eq!(header(&answer.expect_status(200).unwrap(), "content-type"), "image/png");
}

#[tokio::test]
async fn what_makes_no_sense_is_refused() {
    let alice = support::user("alice").await;
    let uri = upload(&alice, "image/png", "", &picture(50, 50)).await;
    for query in ["width=-1&height=1", "width=a&height=1", "width=1&height=1&method=stretch"] {
        thumbnail(&alice, &uri, query).await.expect_error(400, "M_UNKNOWN").unwrap();
    }
    thumbnail(&alice, &uri, "width=1").await.expect_error(400, "M_MISSING_PARAM").unwrap();
    let text = upload(&alice, "image/png", "", b"no picture").await;
    let refused = thumbnail(&alice, &text, "width=32&height=32").await;
    refused.expect_error(400, "M_UNKNOWN").unwrap();
    let svg =
        upload(&alice, "image/svg+xml", "", b"<svg xmlns='http://www.w3.org/2000/svg'/>").await;
    thumbnail(&alice, &svg, "width=32&height=32").await.expect_error(400, "M_UNKNOWN").unwrap();
}

/// A head that announces 30,000 × 30,000 pixels.
pub(crate) fn bomb() -> Vec<u8> {
    let mut bomb = picture(1, 1);
    bomb[16..24].copy_from_slice(&[0, 0, 0x75, 0x30, 0, 0, 0x75, 0x30]);
    let step = |crc: u32, _| if crc & 1 == 1 { (crc >> 1) ^ 0xEDB8_8320 } else { crc >> 1 };
    let crc =
        !bomb[12..29].iter().fold(!0_u32, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), step));
    bomb[29..33].copy_from_slice(&crc.to_be_bytes());
    bomb
}

#[tokio::test]
async fn too_many_pixels_are_not_worked_on() {
    let alice = support::user("alice").await;
    let uri = upload(&alice, "image/png", "", &bomb()).await;
    let refused = thumbnail(&alice, &uri, "width=32&height=32").await;
    refused.expect_error(413, "M_TOO_LARGE").unwrap();
    let peer = support::peer().await;
    let head = "--cut\r\nContent-Type: application/json\r\n\r\n{}\r\n--cut\r\n\
                Content-Type: image/png\r\n\r\n";
    let body = [head.as_bytes(), &bomb(), b"\r\n--cut--\r\n"].concat();
    peer.answer("download", Reply::Bytes(200, "multipart/mixed; boundary=cut", body.into()));
    let target = path(THUMBNAIL, &[&peer.name, "bomb"]);
    let refused = alice.api.get(&format!("{target}?width=32&height=32")).await.unwrap();
    refused.expect_error(502, "M_TOO_LARGE").unwrap();
}

#[tokio::test]
async fn a_picture_that_is_not_there_yet_is_waited_for() {
    let alice = support::user("alice").await;
    let created = alice.api.post("/_matrix/media/v1/create", serde_json::json!({})).await.unwrap();
    let uri = created.ok().unwrap()["content_uri"].as_str().unwrap().to_owned();
    let early = thumbnail(&alice, &uri, "width=32&height=32&timeout_ms=0").await;
    early.expect_error(504, "M_NOT_YET_UPLOADED").unwrap();
}
