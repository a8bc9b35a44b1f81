//! `GET /metrics`, and what else tells how sending to other servers goes.

use std::time::{Duration, Instant};

use starling_conformance::{
    client::{Api, User, path},
    evil::Reply,
    servers::{Kind, ports},
};

use crate::support;

/// How long a figure may take to come.
const PATIENCE: Duration = Duration::from_secs(30);

/// The value of a line of the metrics.
fn value(text: &str, line: &str) -> Option<i64> {
    text.lines().find_map(|it| it.strip_prefix(line)?.trim().parse().ok())
}

#[tokio::test]
async fn a_server_that_takes_nothing_is_seen() {
    let port = ports::free().unwrap();
    let listen = format!("[\"127.0.0.1:{port}\"]");
    let server = support::server_with(&[("TELEMETRY__LISTEN", &listen)]).await;
    if server.kind() != Kind::Starling {
        return;
    }
    let peer = support::peer().await;
    let admin = User::admin(&server, "admin").await.unwrap();
    let room = admin.create_public_room().await.unwrap();
    peer.join(&server, &room, &peer.user("mallory")).await.unwrap();
    let metrics = format!("http://127.0.0.1:{port}/metrics");
    let read = async || reqwest::get(&metrics).await.unwrap().text().await.unwrap();
    let of = |name: &str| format!("starling_federation_{name}{{server=\"{}\"}}", peer.name);
    let until = async |what: &str, holds: &dyn Fn(&str) -> bool| {
        let begun = Instant::now();
        loop {
            let text = read().await;
            if holds(&text) {
                return text;
            }
            assert!(begun.elapsed() < PATIENCE, "{what}:\n{text}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    admin.say(&room, "taken").await.unwrap();
    let taken = |text: &str| {
        value(text, &of("last_success_timestamp_seconds"))
            .is_some_and(|seconds| seconds > 1_700_000_000)
            && value(text, &of("queued_events")) == Some(0)
    };
    until("it took something", &taken).await;

    peer.answer("send", Reply::error(503, "M_UNKNOWN"));
    for number in 0..3 {
        admin.say(&room, &format!("not taken {number}")).await.unwrap();
    }
    let failing = |text: &str| {
        value(text, &of("failures")).is_some_and(|failures| failures > 0)
            && value(text, &of("queued_events")) == Some(3)
            && value(text, &of("last_failure_timestamp_seconds")).is_some_and(|seconds| seconds > 0)
            && value(text, "starling_federation_servers{state=\"failing\"}") == Some(1)
    };
    until("it failed", &failing).await;
    let target = path("/_synapse/admin/v1/federation/destinations/{}", &[&peer.name]);
    let shown = admin.api.get(&target).await.unwrap().ok().unwrap();
    assert_eq!(shown["queued_events"], 3, "{shown}");
    assert!(shown["last_error"].as_str().unwrap().contains("503"), "{shown}");

    peer.be_honest();
    admin.api.post(&format!("{target}/reset_connection"), serde_json::json!({})).await.unwrap();
    let well = |text: &str| {
        value(text, &of("failures")) == Some(0) && value(text, &of("queued_events")) == Some(0)
    };
    until("it took the rest", &well).await;
    let shown = admin.api.get(&target).await.unwrap().ok().unwrap();
    assert!(shown["last_error"].is_null(), "{shown}");
    // The metrics are nowhere else.
    let elsewhere = Api::new(&server).unwrap().get("/metrics").await.unwrap();
    elsewhere.expect_error(404, "M_UNRECOGNIZED").unwrap();
}
