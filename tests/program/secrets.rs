//! Secrets: that each server has its own, and where they are not.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};

use crate::process::{Server, http};

/// All files below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match (path.is_dir(), path.is_file()) {
            (true, _) => found.extend(files(&path)),
            (_, true) => found.push(path),
            // A socket.
            _ => {}
        }
    }
    found
}

async fn key(server: &Server) -> String {
    let target = format!("{}/_matrix/key/v2/server", server.federation);
    let document: Value =
        serde_json::from_str(&http().get(target).send().await.unwrap().text().await.unwrap())
            .unwrap();
    document["verify_keys"].to_string()
}

#[tokio::test]
async fn two_servers_share_no_secret_and_nobody_else_reads_them() {
    let (one, two) = (Server::start(&[]).await, Server::start(&[]).await);
    assert_ne!(key(&one).await, key(&two).await);
    assert_ne!(one.registration_token, two.registration_token);
    assert!(one.registration_token.as_deref().is_some_and(|token| token.len() >= 16));
    for server in [&one, &two] {
        let data = server.path("data");
        let mode = fs::metadata(&data).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o700, "{mode:o}");
        for file in files(&data) {
            let text = fs::read(&file).unwrap();
            let name = file.display();
            let mode = fs::metadata(&file).unwrap().permissions().mode() & 0o777;
            let holds_key = text.windows(11).any(|bytes| bytes == b"PRIVATE KEY");
            assert!(!holds_key || mode == 0o600, "{name}: {mode:o}");
        }
    }
}

#[tokio::test]
async fn the_log_holds_no_secret_at_its_loudest() {
    let server = Server::start(&[
        ("STARLING__LOG__LEVEL", "trace"),
        ("STARLING__REGISTRATION__MODE", "open"),
        ("STARLING__RATE_LIMITS__ENABLED", "false"),
    ])
    .await;
    let http = http();
    let post = async |path: &str, token: &str, body: Value| -> Value {
        let request = http.post(format!("{}{path}", server.client)).bearer_auth(token);
        let request = request.header("content-type", "application/json").body(body.to_string());
        serde_json::from_str(&request.send().await.unwrap().text().await.unwrap()).unwrap()
    };
    let (password, second) = ("hunter-two-is-secret", "hunter-three-is-secret");
    let register = json!({ "username": "alice", "password": password, "refresh_token": true,
                           "auth": { "type": "m.login.dummy" } });
    let account = post("/_matrix/client/v3/register", "guessed-access-token", register).await;
    let token = account["access_token"].as_str().unwrap();
    let refresh = account["refresh_token"].as_str().unwrap();
    let identifier = json!({ "type": "m.id.user", "user": "alice" });
    let proof =
        json!({ "type": "m.login.password", "identifier": identifier, "password": password });
    let login = post("/_matrix/client/v3/login", "", proof.clone()).await;
    let other = login["access_token"].as_str().unwrap();
    let wrong = json!({ "type": "m.login.password", "identifier": identifier,
                        "password": "wrong-but-still-secret" });
    post("/_matrix/client/v3/login", "", wrong).await;
    let room = post("/_matrix/client/v3/createRoom", token, json!({ "name": "secret-name" })).await;
    let room = room["room_id"].as_str().unwrap().replace('!', "%21").replace(':', "%3A");
    let said = format!("{}/_matrix/client/v3/rooms/{room}/send/m.room.message/1", server.client);
    let body = json!({ "msgtype": "m.text", "body": "secret-words" }).to_string();
    http.put(said).bearer_auth(token).body(body).send().await.unwrap();
    let query = format!("{}/_matrix/client/v3/account/whoami?access_token={token}", server.client);
    http.get(query).send().await.unwrap();
    let renewed = post("/_matrix/client/v3/refresh", "", json!({ "refresh_token": refresh })).await;
    let renewed = renewed["access_token"].as_str().unwrap();
    let change = json!({ "new_password": second, "auth": proof });
    post("/_matrix/client/v3/account/password", other, change).await;
    let log = server.log();
    assert!(log.contains("DEBUG") && log.contains("/account/password"), "{log}");
    for secret in [
        password,
        second,
        "wrong-but-still-secret",
        "guessed-access-token",
        "secret-words",
        token,
        refresh,
        other,
        renewed,
    ] {
        let line = log.lines().find(|line| line.contains(secret));
        assert!(line.is_none(), "{secret}: {line:?}");
    }
}
