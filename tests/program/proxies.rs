//! Behind a proxy: Unix sockets, a server API without TLS; and what requests leave in the log.

use std::os::unix::{fs::PermissionsExt as _, net::UnixListener};

use rustix::process::Signal;

use crate::process::{Server, http};

#[tokio::test]
async fn a_unix_socket_answers_and_is_removed_at_the_end() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("client.sock");
    drop(UnixListener::bind(&socket).unwrap());
    assert!(socket.exists(), "a socket is left over, as after a crash");

    let address = format!("unix:{}", socket.display());
    let mut server = Server::start_in(directory, &[("STARLING__CLIENT__LISTEN", &address)]).await;
    assert_eq!(server.client, address);
    let client = reqwest::Client::builder().unix_socket(socket.as_path()).build().unwrap();
    let response = client.get("http://localhost/health/ready").send().await.unwrap();
    assert_eq!(response.status(), 200);
    let mode = socket.metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o660);

    server.signal(Signal::TERM);
    assert_eq!(server.exit_code().await, Some(0));
    assert!(!socket.exists());
}

#[tokio::test]
async fn the_server_api_can_leave_tls_to_a_proxy() {
    let server = Server::start(&[("STARLING__FEDERATION__TLS__ENABLED", "false")]).await;
    assert!(server.federation.starts_with("http://"), "{}", server.federation);
    http().get(&server.federation).send().await.unwrap();
    assert!(!server.path("data/federation.key").exists());
}

#[tokio::test]
async fn clients_get_the_errors_of_the_specification() {
    let server = Server::start(&[]).await;
    let nowhere = http().get(format!("{}/_matrix/client/v3/nowhere", server.client));
    let response = nowhere.send().await.unwrap();
    assert_eq!(response.status(), 404);
    let error: serde_json::Value = response.json().await.unwrap();
    assert_eq!(error["errcode"], "M_UNRECOGNIZED");
    let versions = http().get(format!("{}/_matrix/client/versions", server.client));
    assert_eq!(versions.send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn one_listener_can_serve_clients_and_servers() {
    let server = Server::start(&[("STARLING__FEDERATION__ALSO_ON_CLIENT_LISTENER", "true")]).await;
    for path in
        ["_matrix/client/versions", "_matrix/key/v2/server", "_matrix/federation/v1/version"]
    {
        let response = http().get(format!("{}/{path}", server.client)).send().await.unwrap();
        assert_eq!(response.status(), 200, "{path}");
    }
}

#[tokio::test]
async fn the_server_says_whom_to_turn_to() {
    let contacts = "[{ role = 'm.role.admin', email_address = 'admin@a.test' }]";
    let server = Server::start(&[("STARLING__CLIENT__SUPPORT_CONTACTS", contacts)]).await;
    let address = format!("{}/.well-known/matrix/support", server.client);
    let support = http().get(address).send().await.unwrap();
    let support: serde_json::Value = support.json().await.unwrap();
    assert_eq!(support["contacts"][0]["email_address"], "admin@a.test");
}

#[tokio::test]
async fn requests_are_logged_with_their_id_and_without_their_secrets() {
    let server = Server::start(&[("STARLING__LOG__FORMAT", "json")]).await;
    let response = http()
        .get(format!("{}/_matrix/client/versions?access_token=secret2", server.client))
        .header("authorization", "Bearer secret3")
        .header("x-request-id", "forged")
        .send()
        .await
        .unwrap();
    let id = response.headers()["x-request-id"].to_str().unwrap();
    server.wait_for_log(id).await;
    let log = server.log();
    let line = log.lines().find(|line| line.contains(id)).unwrap();
    let line: serde_json::Value = serde_json::from_str(line).unwrap();
    assert_eq!(line["status"], 200);
    assert_eq!(line["span"]["path"], "/_matrix/client/versions");
    assert_eq!(line["span"]["method"], "GET");
    assert!(!log.contains("secret") && !log.contains("forged"), "{log}");
}

/// The ids under which requests that name these ids are answered.
async fn ids(trusted: &str, sent: &[&str]) -> Vec<String> {
    let server = Server::start(&[("STARLING__CLIENT__TRUSTED_PROXIES", trusted)]).await;
    let mut ids = Vec::new();
    for id in sent {
        let versions = http().get(format!("{}/_matrix/client/versions", server.client));
        let answer = versions.header("x-request-id", *id).send().await.unwrap();
        let id = answer.headers()["x-request-id"].to_str().unwrap().to_owned();
        server.wait_for_log(&format!("id=\"{id}\"")).await;
        ids.push(id);
    }
    ids
}

#[tokio::test]
async fn only_a_trusted_proxy_names_requests() {
    let long = "x".repeat(65);
    let sent = ["4f1c-9_A.b", "a b", &long];
    let of_proxy = ids("127.0.0.0/8", &sent).await;
    assert_eq!(of_proxy[0], sent[0]);
    assert!(of_proxy[1] != sent[1] && of_proxy[2] != sent[2], "{of_proxy:?}");
    let of_client = ids("192.0.2.1/32", &sent).await;
    assert!(of_client.iter().all(|id| !sent.contains(&&**id)), "{of_client:?}");
}

/// The address that a user sees at their device, after a request that names these addresses.
async fn last_seen(trusted: &str, forwarded_for: &str) -> serde_json::Value {
    let settings =
        [("STARLING__REGISTRATION__MODE", "open"), ("STARLING__CLIENT__TRUSTED_PROXIES", trusted)];
    let server = Server::start(&settings).await;
    let account = serde_json::json!({
        "username": "alice", "password": "one two three", "auth": { "type": "m.login.dummy" },
    });
    let register = format!("{}/_matrix/client/v3/register", server.client);
    let account = http().post(register).json(&account).send().await.unwrap();
    let account: serde_json::Value = account.json().await.unwrap();
    let devices = format!("{}/_matrix/client/v3/devices", server.client);
    let devices = http()
        .get(devices)
        .bearer_auth(account["access_token"].as_str().unwrap())
        .header("x-forwarded-for", forwarded_for);
    let devices: serde_json::Value = devices.send().await.unwrap().json().await.unwrap();
    devices["devices"][0]["last_seen_ip"].clone()
}

#[tokio::test]
async fn only_a_trusted_proxy_is_believed_where_a_request_comes_from() {
    assert_eq!(last_seen("127.0.0.0/8", "198.51.100.1, 203.0.113.7").await, "203.0.113.7");
    assert_eq!(last_seen("192.0.2.1/32", "203.0.113.7").await, "127.0.0.1");
}
