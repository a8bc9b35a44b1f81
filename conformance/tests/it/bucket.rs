//! Files in a bucket: a real service that speaks S3 (SeaweedFS), as administrators have it.
//!
//! The service comes with `conformance/interop/setup.sh`. Where that was not run, as before
//! `./check --quick`, these tests find nothing to speak to and end.

use http::Method;
use serde_json::json;
use starling_conformance::{
    client::{Answer, Api, User, path},
    servers::{Buckets, Kind, Server},
};
use tokio::sync::OnceCell;

use crate::{
    backup,
    client::media::{download, download::parts, header, of, picture, upload},
    federation::media::file,
    support,
};

const DOWNLOAD: &str = "/_matrix/client/v1/media/download/{}/{}";
const THUMBNAIL: &str = "/_matrix/client/v1/media/thumbnail/{}/{}";

/// The service that the tests share, if it is installed and it is us who are tested.
async fn buckets() -> Option<&'static Buckets> {
    static BUCKETS: OnceCell<Buckets> = OnceCell::const_new();
    if !Buckets::are_installed() || support::spec().kind != Kind::Starling {
        return None;
    }
    Some(BUCKETS.get_or_init(async || Buckets::start().await.unwrap()).await)
}

/// A server whose files are in the bucket of that name.
async fn server(buckets: &Buckets, bucket: &str, settings: &[(&str, &str)]) -> Server {
    let mut spec = support::spec();
    spec.settings.extend(buckets.settings(bucket));
    for (name, value) in settings {
        spec = spec.with_setting(name, value);
    }
    support::start(spec).await
}

/// SHA-256 in hexadecimal, by which the administrators' API knows a file.
async fn hash(admin: &User, uri: &str) -> String {
    let one = of("/_synapse/admin/v1/media/{}/{}", uri);
    let answer = admin.api.get(&one).await.unwrap().ok().unwrap();
    answer["media_info"]["sha256"].as_str().unwrap().to_owned()
}

async fn range(user: &User, uri: &str, range: &str) -> Answer {
    let target = of(DOWNLOAD, uri);
    let request = user.api.builder(Method::GET, &target).header("Range", range);
    Answer::read(format!("GET {target}"), request).await.unwrap()
}

#[tokio::test]
async fn files_come_back_from_a_bucket_as_they_went_in() {
    let Some(buckets) = buckets().await else { return };
    let server = server(buckets, "round", &[]).await;
    let alice = User::register(&server, "alice").await.unwrap();
    let admin = User::admin(&server, "admin").await.unwrap();
    // More than two parts of an upload, one byte, and nothing.
    let large: Vec<u8> = (0..12_000_000_u32).map(|byte| (byte % 251) as u8).collect();
    for bytes in [&large[..], b"x", b""] {
        let uri = upload(&alice, "application/x-data", "?filename=a", bytes).await;
        let answer = download(&alice.api, &uri).await.expect_status(200).unwrap();
        assert!(answer.bytes == bytes, "{} bytes came back", answer.bytes.len());
        assert_eq!(header(&answer, "content-disposition"), "attachment; filename=a");
    }
    let first = upload(&alice, "text/plain", "", b"0123456789").await;
    assert_eq!(range(&alice, &first, "bytes=2-4").await.expect_status(206).unwrap().bytes, "234");
    assert_eq!(range(&alice, &first, "bytes=-3").await.expect_status(206).unwrap().bytes, "789");
    range(&alice, &first, "bytes=10-").await.expect_status(416).unwrap();
    let again = upload(&alice, "text/plain", "", b"0123456789").await;
    let named = hash(&admin, &first).await;
    assert_eq!(hash(&admin, &again).await, named);
    let names = buckets.names("round").await.unwrap();
    assert_eq!(names.iter().filter(|name| **name == named).count(), 1);
    assert_eq!(names.len(), 4, "nothing that came in is left: {names:?}");
}

#[tokio::test]
async fn thumbnails_and_what_other_servers_have_are_kept_in_a_bucket() {
    let Some(buckets) = buckets().await else { return };
    let server = server(buckets, "cache", &[]).await;
    let alice = User::register(&server, "alice").await.unwrap();
    let admin = User::admin(&server, "admin").await.unwrap();
    let uri = upload(&alice, "image/png", "", &picture(200, 100)).await;
    for _ in 0..2 {
        let target = format!("{}?width=32&height=32&method=crop", of(THUMBNAIL, &uri));
        let answer = alice.api.get(&target).await.unwrap().expect_status(200).unwrap();
        assert_eq!(image::load_from_memory(&answer.bytes).unwrap().width(), 32);
    }
    let peer = support::peer().await;
    peer.answer("download", parts("text/plain", b"far away"));
    for _ in 0..2 {
        let target = path(DOWNLOAD, &[&peer.name, "far"]);
        let answer = alice.api.get(&target).await.unwrap().expect_status(200).unwrap();
        assert_eq!(answer.bytes, "far away");
    }
    assert_eq!(peer.seen("download").len(), 1);
    assert_eq!(buckets.names("cache").await.unwrap().len(), 3);

    let purge = "/_synapse/admin/v1/purge_media_cache?before_ts=4000000000000";
    admin.api.post(purge, json!({})).await.unwrap().ok().unwrap();
    assert_eq!(buckets.names("cache").await.unwrap().len(), 2);
    let one = of("/_synapse/admin/v1/media/{}/{}", &uri);
    admin.api.delete(&one).await.unwrap().ok().unwrap();
    assert_eq!(buckets.names("cache").await.unwrap(), [""; 0]);
    download(&alice.api, &uri).await.expect_error(404, "M_NOT_FOUND").unwrap();
}

#[tokio::test]
async fn what_is_quarantined_in_a_bucket_is_given_to_nobody() {
    let Some(buckets) = buckets().await else { return };
    let server = server(buckets, "held-back", &[]).await;
    let alice = User::register(&server, "alice").await.unwrap();
    let admin = User::admin(&server, "admin").await.unwrap();
    let bad = upload(&alice, "text/plain", "", b"bad content").await;
    let quarantine = of("/_synapse/admin/v1/media/quarantine/{}/{}", &bad);
    admin.api.post(&quarantine, json!({})).await.unwrap().ok().unwrap();
    let again = upload(&alice, "text/plain", "", b"bad content").await;
    for uri in [&bad, &again] {
        download(&alice.api, uri).await.expect_error(404, "M_NOT_FOUND").unwrap();
    }
    assert_eq!(buckets.names("held-back").await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_backup_has_the_files_of_a_bucket_and_restores_them_into_another() {
    let Some(buckets) = buckets().await else { return };
    let mut spec = support::spec();
    spec.settings.extend(buckets.settings("before"));
    let server = support::start(spec.clone()).await;
    let alice = User::register(&server, "alice").await.unwrap();
    let files = [&b"one"[..], &[7; 6_000_000]];
    let mut uris = Vec::new();
    for bytes in files {
        uris.push(upload(&alice, "application/x-data", "", bytes).await);
    }
    let kept = tempfile::tempdir().unwrap();
    let directory = kept.path().join("backup");
    let said = backup::good(&server, "create", &directory).await;
    assert!(said.contains("2 files"), "{said}");
    server.stop().unwrap();

    let mut elsewhere = spec;
    elsewhere.settings = buckets.settings("after");
    let restored = backup::another(&elsewhere);
    backup::good(&restored, "restore", &directory).await;
    assert_eq!(buckets.names("after").await.unwrap(), buckets.names("before").await.unwrap());
    restored.resume().await.unwrap();
    for (uri, bytes) in uris.iter().zip(files) {
        let answer = download(&alice.api, uri).await.expect_status(200).unwrap();
        assert!(answer.bytes == bytes, "{} bytes came back", answer.bytes.len());
    }
}

/// Whether `starling doctor` has nothing to complain about, and what it says.
async fn doctor(server: &Server) -> (String, bool) {
    crate::doctor::doctor(server, None).await
}

#[tokio::test]
async fn a_key_that_the_bucket_does_not_know_stops_files_and_nothing_else() {
    let Some(buckets) = buckets().await else { return };
    let server = server(buckets, "wrong", &[("MEDIA__S3__SECRET_ACCESS_KEY", "wrong")]).await;
    let alice = User::register(&server, "alice").await.unwrap();
    let target = "/_matrix/media/v3/upload";
    let refused = alice.api.raw(Method::POST, target, "text/plain", b"x".to_vec()).await.unwrap();
    refused.expect_error(503, "M_UNKNOWN").unwrap();
    let room = alice.create_public_room().await.unwrap();
    alice.say(&room, "nothing is wrong with words").await.unwrap();
    let (said, good) = doctor(&server).await;
    assert!(!good && said.contains("BAD the bucket wrong: "), "{said}");
    let right = self::server(buckets, "right", &[]).await;
    let (said, good) = doctor(&right).await;
    assert!(good && said.contains("ok  the bucket right: it lets us in"), "{said}");
}

#[tokio::test]
async fn while_the_bucket_is_away_files_are_and_afterwards_they_are_there_again() {
    if buckets().await.is_none() {
        return;
    }
    let buckets = Buckets::start().await.unwrap();
    let server = server(&buckets, "away", &[]).await;
    let alice = User::register(&server, "alice").await.unwrap();
    let before = upload(&alice, "image/png", "", &picture(200, 100)).await;
    let id = before.rsplit('/').next().unwrap();
    let thumbnail = format!("{}?width=32&height=32", of(THUMBNAIL, &before));
    let target = "/_matrix/media/v3/upload";
    buckets.kill().unwrap();
    download(&alice.api, &before).await.expect_error(503, "M_UNKNOWN").unwrap();
    alice.api.get(&thumbnail).await.unwrap().expect_error(503, "M_UNKNOWN").unwrap();
    let refused = alice.api.raw(Method::POST, target, "text/plain", b"x".to_vec()).await.unwrap();
    refused.expect_error(503, "M_UNKNOWN").unwrap();
    let peer = support::peer().await;
    let theirs = format!("/_matrix/federation/v1/media/download/{id}");
    peer.get(&server, &theirs).await.unwrap().expect_error(503, "M_UNKNOWN").unwrap();
    let room = alice.create_public_room().await.unwrap();
    alice.say(&room, "meanwhile").await.unwrap();

    buckets.resume().await.unwrap();
    // The service lets people in before it has found its own volumes.
    let found = async || download(&alice.api, &before).await.status == 200;
    support::until("the files are there again", found).await;
    assert_eq!(download(&alice.api, &before).await.bytes, picture(200, 100));
    alice.api.get(&thumbnail).await.unwrap().expect_status(200).unwrap();
    let after = upload(&alice, "text/plain", "", b"x").await;
    assert_eq!(download(&alice.api, &after).await.expect_status(200).unwrap().bytes, "x");
}

/// What a redirect leads to, without any credentials.
async fn follow(answer: &Answer) -> reqwest::Response {
    assert_eq!(header(answer, "cache-control"), "no-store");
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    http.get(header(answer, "location")).send().await.unwrap()
}

#[tokio::test]
async fn clients_are_led_to_the_bucket_if_the_administrator_wants_that() {
    let Some(buckets) = buckets().await else { return };
    let settings = [("MEDIA__S3__REDIRECT", "true"), ("MEDIA__FREEZE_LEGACY", "false")];
    let server = server(buckets, "open", &settings).await;
    let alice = User::register(&server, "alice").await.unwrap();
    let (staying, anonymous) =
        (alice.api.staying().unwrap(), Api::new(&server).unwrap().staying().unwrap());
    let uri = upload(&alice, "text/html", "?filename=a%20b.html", b"<b>").await;
    let small = upload(&alice, "image/png", "", &picture(200, 100)).await;
    let (origin, id) = uri.strip_prefix("mxc://").unwrap().split_once('/').unwrap();
    let named = path("/_matrix/client/v1/media/download/{}/{}/{}", &[origin, id, "c.html"]);
    let old = |target: &str| target.replacen("/_matrix/client/v1/media", "/_matrix/media/v3", 1);
    for (target, name) in [(of(DOWNLOAD, &uri), "\"a b.html\""), (named, "c.html")] {
        let led = staying.get(&target).await.unwrap().expect_status(307).unwrap();
        let there = follow(&led).await;
        assert_eq!(there.headers()["content-type"], "text/html");
        let disposition = format!("attachment; filename={name}");
        assert_eq!(there.headers()["content-disposition"], disposition);
        assert_eq!(there.bytes().await.unwrap(), "<b>");
        let old = old(&target);
        // At the old addresses clients say whether they can be led elsewhere.
        assert_eq!(anonymous.get(&old).await.unwrap().expect_status(200).unwrap().bytes, "<b>");
        let led = anonymous.get(&format!("{old}?allow_redirect=true")).await.unwrap();
        let there = follow(&led.expect_status(307).unwrap()).await;
        assert_eq!(there.bytes().await.unwrap(), "<b>");
    }
    let thumbnail = format!("{}?width=32&height=32&method=crop", of(THUMBNAIL, &small));
    for _ in 0..2 {
        let led = staying.get(&thumbnail).await.unwrap().expect_status(307).unwrap();
        let there = follow(&led).await;
        assert_eq!(there.headers()["content-type"], "image/png");
        let bytes = there.bytes().await.unwrap();
        assert_eq!(image::load_from_memory(&bytes).unwrap().width(), 32);
    }
    let led = anonymous.get(&format!("{}&allow_redirect=true", old(&thumbnail))).await.unwrap();
    follow(&led.expect_status(307).unwrap()).await.error_for_status().unwrap();
    // Without a token nobody is led anywhere.
    let refused = anonymous.get(&of(DOWNLOAD, &uri)).await.unwrap();
    refused.expect_error(401, "M_MISSING_TOKEN").unwrap();
}

#[tokio::test]
async fn other_servers_are_led_to_the_bucket_and_follow() {
    let Some(buckets) = buckets().await else { return };
    let server = server(buckets, "shared", &[("MEDIA__S3__REDIRECT", "true")]).await;
    let alice = User::register(&server, "alice").await.unwrap();
    let uri = upload(&alice, "text/plain", "?filename=a.txt", b"far away").await;
    let id = uri.rsplit('/').next().unwrap();
    let peer = support::peer().await;
    let target = format!("/_matrix/federation/v1/media/download/{id}");
    let answer = peer.get(&server, &target).await.unwrap().expect_status(200).unwrap();
    let (head, bytes) = file(&answer);
    assert!(head.trim().starts_with(&format!("Location: {}", buckets.url())), "{head}");
    assert_eq!(bytes, b"");

    let settings = [("MEDIA__ALLOW_PRIVATE_ADDRESSES", "true")];
    let far = support::server_with(&settings).await;
    let bob = User::register(&far, "bob").await.unwrap();
    let answer = download(&bob.api, &uri).await.expect_status(200).unwrap();
    assert_eq!(answer.bytes, "far away");
    assert_eq!(header(&answer, "content-disposition"), "inline; filename=a.txt");
    // Who is not allowed to ask private addresses does not follow there.
    let strict = support::server_with(&[]).await;
    let carol = User::register(&strict, "carol").await.unwrap();
    download(&carol.api, &uri).await.expect_error(502, "M_UNKNOWN").unwrap();
}
