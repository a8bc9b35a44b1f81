//! SIGTERM stops the server with all answers given; SIGHUP changes what can change.

use std::{fs, time::Duration};

use reqwest::tls::TlsInfo;
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::{io::AsyncWriteExt as _, net::TcpStream, time::timeout};

use crate::process::{Server, http};

async fn certificate(server: &Server) -> Vec<u8> {
    let response = http().get(&server.federation).send().await.unwrap();
    let info = response.extensions().get::<TlsInfo>().unwrap();
    info.peer_certificate().unwrap().to_vec()
}

#[tokio::test]
async fn health_tells_that_the_server_lives_and_is_ready() {
    let server = Server::start(&[]).await;
    for check in ["live", "ready"] {
        let response =
            http().get(format!("{}/health/{check}", server.client)).send().await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.text().await.unwrap(), check);
    }
}

#[tokio::test]
async fn sigterm_ends_with_success_though_connections_are_open() {
    let mut server = Server::start(&[]).await;
    let client = http();
    client.get(format!("{}/health/live", server.client)).send().await.unwrap();
    let address = server.client.trim_start_matches("http://").to_owned();
    let mut idle = TcpStream::connect(address).await.unwrap();
    idle.write_all(b"GET /health/live HT").await.unwrap();
    server.signal(Signal::TERM);
    assert_eq!(server.exit_code().await, Some(0));
    assert!(client.get(&server.client).send().await.is_err());
}

#[tokio::test]
async fn sigterm_answers_long_polls() {
    let settings = [
        ("STARLING__REGISTRATION__MODE", "open"),
        ("STARLING__LOG__LEVEL", "starling::http=debug"),
    ];
    let mut server = Server::start(&settings).await;
    let register = format!("{}/_matrix/client/v3/register", server.client);
    let account = json!({
        "username": "alice", "password": "one two three", "auth": {"type": "m.login.dummy"},
    });
    let account = http().post(register).json(&account).send().await.unwrap();
    let account: Value = account.json().await.unwrap();
    let token = account["access_token"].as_str().unwrap().to_owned();
    let sync = format!("{}/_matrix/client/v3/sync", server.client);
    let first = http().get(&sync).bearer_auth(&token).send().await.unwrap();
    let first: Value = first.json().await.unwrap();
    let since = first["next_batch"].as_str().unwrap();

    let poll = http().get(format!("{sync}?timeout=600000&since={since}")).bearer_auth(&token);
    let poll = tokio::spawn(poll.send());
    server.wait_for_lines("/_matrix/client/v3/sync\"}: starling::http: began", 2).await;
    server.signal(Signal::TERM);
    assert_eq!(server.exit_code().await, Some(0));
    let answer = poll.await.unwrap().unwrap();
    assert_eq!(answer.status(), 200);
    assert!(answer.json::<Value>().await.unwrap()["next_batch"].is_string());
}

#[tokio::test]
async fn sigint_ends_with_success() {
    let mut server = Server::start(&[]).await;
    server.signal(Signal::INT);
    assert_eq!(server.exit_code().await, Some(0));
}

#[tokio::test]
async fn sighup_loads_a_new_certificate() {
    let (server, other) = (Server::start(&[]).await, Server::start(&[]).await);
    let before = certificate(&server).await;
    for file in ["data/federation.crt", "data/federation.key"] {
        fs::copy(other.path(file), server.path(file)).unwrap();
    }
    assert_eq!(certificate(&server).await, before);
    server.signal(Signal::HUP);
    server.wait_for_log("configuration reloaded").await;
    assert_eq!(certificate(&server).await, certificate(&other).await);
    assert_ne!(certificate(&server).await, before);
}

#[tokio::test]
async fn sighup_changes_the_log_level() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("starling.toml"), "log.level = 'info'").unwrap();
    let server = Server::start_in(directory, &[]).await;
    let health = format!("{}/health/live", server.client);
    http().get(&health).send().await.unwrap();
    fs::write(server.path("starling.toml"), "log.level = 'debug'").unwrap();
    server.signal(Signal::HUP);
    server.wait_for_log("configuration reloaded").await;
    assert!(!server.log().contains("/health/live"));
    http().get(&health).send().await.unwrap();
    server.wait_for_log("/health/live").await;
}

#[tokio::test]
async fn a_wrong_configuration_at_sighup_changes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("starling.toml"), "log.level = 'info'").unwrap();
    let server = Server::start_in(directory, &[]).await;
    let before = certificate(&server).await;
    fs::write(server.path("starling.toml"), "log.levle = 'debug'").unwrap();
    server.signal(Signal::HUP);
    server.wait_for_log("log.levle").await;
    fs::write(server.path("starling.toml"), "").unwrap();
    fs::write(server.path("data/federation.crt"), "nonsense").unwrap();
    server.signal(Signal::HUP);
    server.wait_for_log("federation.crt").await;
    assert_eq!(certificate(&server).await, before);
}

#[tokio::test]
async fn what_takes_long_in_the_database_is_logged_without_what_is_in_it() {
    let directory = tempfile::tempdir().unwrap();
    let settings = |ms: u32| {
        format!(
            "log = {{ format = 'json', slow_query_ms = {ms} }}\nregistration.mode = 'open'\nrate_limits.enabled = false"
        )
    };
    fs::write(directory.path().join("starling.toml"), settings(0)).unwrap();
    let server = Server::start_in(directory, &[]).await;
    let register = format!("{}/_matrix/client/v3/register", server.client);
    let account = |number: u32| {
        let (username, auth) = (format!("person-{number}"), json!({ "type": "m.login.dummy" }));
        let account = json!({ "username": username, "password": "one two three", "auth": auth });
        http().post(&register).json(&account).send()
    };
    assert_eq!(account(0).await.unwrap().status(), 200);
    fs::write(server.path("starling.toml"), settings(1)).unwrap();
    server.signal(Signal::HUP);
    server.wait_for_log("configuration reloaded").await;
    assert!(!server.log().contains(" was slow"), "it was switched off");
    let slow = |what: &str| {
        let found = server.log().lines().find(|line| line.contains(what))?.to_owned();
        assert!(!found.contains("person"), "{found}");
        Some(serde_json::from_str::<Value>(&found).unwrap())
    };
    let both =
        || Some((slow("a statement was slow")?, slow("a transaction of the writer was slow")?));
    let other = rusqlite::Connection::open(server.path("data/starling.db")).unwrap();
    for number in 1.. {
        other.execute_batch("BEGIN IMMEDIATE").unwrap();
        let mut answer = tokio::spawn(account(number));
        // Longer each time: the account may not have come to the database before.
        let early = timeout(Duration::from_millis(50) * number, &mut answer).await;
        assert!(early.is_err(), "another process writes");
        other.execute_batch("ROLLBACK").unwrap();
        assert_eq!(answer.await.unwrap().unwrap().status(), 200);
        if both().is_some() {
            break;
        }
        assert!(number < 20, "{}", server.log());
    }
    let (statement, transaction) = both().unwrap();
    assert!(statement["ms"].is_u64() && statement["statement"].is_string(), "{statement}");
    assert!(transaction["ms"].is_u64() && transaction["changes"].is_u64(), "{transaction}");
    assert_eq!(statement["level"], "WARN");
}
