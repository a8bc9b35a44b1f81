//! `starling admin rotate-key`: another key signs, and what the old one signed stays valid.

use std::process::Command;

use serde_json::Value;
use starling_conformance::{
    client::User,
    servers::{Kind, Server, starling},
};

use crate::support;

fn rotate(server: &Server) -> (String, bool) {
    let mut command = Command::new(starling::binary().unwrap());
    command.args(["admin", "rotate-key", "--config"]);
    command.arg(server.directory().join("starling.toml"));
    command.arg("--data").arg(server.directory().join("data"));
    let output = command.output().unwrap();
    let (said, errors) = (output.stdout, String::from_utf8_lossy(&output.stderr).into_owned());
    (format!("{}{errors}", String::from_utf8_lossy(&said)), output.status.success())
}

#[tokio::test]
async fn a_new_key_signs_and_the_old_one_is_published_as_old() {
    let server = support::start(support::spec()).await;
    if server.kind() != Kind::Starling {
        return;
    }
    let peer = support::peer().await;
    let keys = async || -> Value {
        let (method, target) = (http::Method::GET, "/_matrix/key/v2/server");
        peer.request_as(&server, method, target, None, None).await.unwrap().ok().unwrap()
    };
    let alice = User::register(&server, "alice").await.unwrap();
    let room = alice.create_public_room().await.unwrap();
    peer.join(&server, &room, &peer.user("mallory")).await.unwrap();
    let before = keys().await;
    let old = before["verify_keys"].as_object().unwrap().keys().next().unwrap().clone();
    let (said, good) = rotate(&server);
    assert!(!good && said.contains("the server is running"), "{said}");

    server.stop().unwrap();
    let (said, good) = rotate(&server);
    assert!(good, "{said}");
    server.resume().await.unwrap();
    let after = keys().await;
    let verify_keys = after["verify_keys"].as_object().unwrap();
    assert!(!verify_keys.contains_key(&old) && verify_keys.len() == 1, "{after}");
    let was = &after["old_verify_keys"][&old];
    assert_eq!(was["key"], before["verify_keys"][&old]["key"], "{after}");
    assert!(was["expired_ts"].is_u64(), "{after}");
    alice.say(&room, "with another key").await.unwrap();
    let said = |pdu: &Value| pdu["content"]["body"] == "with another key";
    let pdu = peer.received_pdu("the message", said).await.unwrap();
    peer.verify(&server, "12", &pdu).await.unwrap();
}
