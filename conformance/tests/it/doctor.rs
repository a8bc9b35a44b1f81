//! `starling doctor`: what it says of servers that are there, and of those that are not.

use std::process::{Command, Output};

use serde_json::json;
use sha2::{Digest as _, Sha256};
use starling_conformance::{
    client::User,
    evil::Reply,
    servers::{Kind, Server, Spec, ports, starling},
};

use crate::{client::media::upload, support};

/// Runs the command beside a running server; gives what it said and whether nothing is wrong.
pub(crate) async fn doctor(server: &Server, name: Option<&str>) -> (String, bool) {
    let mut command = Command::new(starling::binary().unwrap());
    command.arg("doctor").args(name).envs(server.environment());
    command.arg("--config").arg(server.directory().join("starling.toml"));
    command.arg("--data").arg(server.directory().join("data"));
    // The peer answers from this thread.
    let run = tokio::task::spawn_blocking(move || command.output().unwrap());
    let Output { status, stdout, stderr } = run.await.unwrap();
    let text = format!("{}{}", String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    (text, status.success())
}

fn assert_said(said: &str, lines: &[&str]) {
    for line in lines {
        assert!(said.contains(line), "'{line}' is not in\n{said}");
    }
}

#[tokio::test]
async fn two_servers_that_hear_each_other() {
    let (here, there) = support::pair().await;
    if here.kind() != Kind::Starling {
        return;
    }
    let (said, good) = doctor(here, Some(there.name())).await;
    assert!(good, "{said}");
    let port = there.federation_port();
    assert_said(
        &said,
        &[
            "-   well-known: not asked: the name says where it is",
            "ok  addresses: localhost: ",
            &format!(
                "ok  TLS and version at 127.0.0.1:{port}: a certificate for localhost, Starling"
            ),
            &format!("ok  keys at 127.0.0.1:{port}: ed25519:"),
            "ok  a signed request, and the way back to us: it knows our keys",
            "Nothing is wrong.",
        ],
    );
    let (said, good) = doctor(here, None).await;
    assert!(good, "{said}");
    assert_said(&said, &[here.name(), "Nothing is wrong."]);
}

#[tokio::test]
async fn servers_that_do_not() {
    let server = support::server().await;
    if server.kind() != Kind::Starling {
        return;
    }
    let (said, good) = doctor(server, Some(&format!("localhost:{}", ports::free().unwrap()))).await;
    assert!(!good, "{said}");
    assert_said(&said, &["BAD TLS and version at 127.0.0.1:", "refused", "is not reached"]);

    let (said, good) = doctor(server, Some("no such server")).await;
    assert!(!good, "{said}");
    assert_said(&said, &["cannot be the name of a server"]);

    // Its certificate is not for this name.
    let peer = support::peer().await;
    let port = peer.name.rsplit(':').next().unwrap();
    let (said, good) = doctor(server, Some(&format!("[::ffff:127.0.0.1]:{port}"))).await;
    assert!(!good, "{said}");
    assert_said(&said, &["BAD TLS and version at "]);

    peer.answer("v2", Reply::ok(json!({ "server_name": peer.name, "verify_keys": {} })));
    let (said, good) = doctor(server, Some(&peer.name)).await;
    assert!(!good, "{said}");
    assert_said(&said, &["ok  TLS and version", "BAD keys at 127.0.0.1:", "is not reached"]);
    peer.be_honest();

    peer.answer("query", Reply::error(401, "M_UNAUTHORIZED"));
    let (said, good) = doctor(server, Some(&peer.name)).await;
    assert!(!good, "{said}");
    assert_said(&said, &["ok  keys at", "BAD a signed request", "it may not reach us"]);
}

#[tokio::test]
async fn all_that_is_stored_is_looked_at_and_what_is_missing_is_named() {
    let server = Spec::new(Kind::Starling).unwrap().start(support::ca()).await.unwrap();
    let alice = User::register(&server, "alice").await.unwrap();
    let room = alice.create_public_room().await.unwrap();
    alice.say(&room, "a message").await.unwrap();
    upload(&alice, "text/plain", "", b"a file").await;
    let (said, good) = doctor(&server, Some("--deep")).await;
    assert!(good, "{said}");
    assert_said(&said, &["ok  events: ", "ok  files: 1 looked at", "Nothing is wrong."]);

    // The bytes of a file are named by their hash.
    let hash: String = Sha256::digest(b"a file").iter().map(|byte| format!("{byte:02x}")).collect();
    let folder = server
        .directory()
        .join("data/media")
        .join(hash.get(..2).unwrap())
        .join(hash.get(2..4).unwrap());
    std::fs::remove_file(folder.join(&hash)).unwrap();
    let (said, good) = doctor(&server, Some("--deep")).await;
    assert!(!good, "{said}");
    let line = format!("BAD files: the file {hash} is not there");
    assert_said(&said, &[&line, "1 things are wrong"]);
}
