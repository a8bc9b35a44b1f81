//! `starling admin`, beside a running server and without one.

use std::{path::Path, process::Stdio};

use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;

use crate::process::{Server, http, starling};

/// Cheap passwords: their cost is tested elsewhere.
const CHEAP: (&str, &str) = ("STARLING__ACCOUNTS__PASSWORD_HASHING__MEMORY_KIB", "8");

/// Runs `starling admin`, and gives back what it said and whether it was done.
async fn admin(data: &Path, arguments: &[&str], password: &str) -> (bool, String) {
    let mut command = starling();
    command.arg("admin").args(arguments).arg("--data").arg(data).env(CHEAP.0, CHEAP.1);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(password.as_bytes()).await.unwrap();
    let output = child.wait_with_output().await.unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(said).unwrap())
}

async fn log_in(server: &Server, name: &str, password: &str) -> Value {
    let identifier = json!({"type": "m.id.user", "user": name});
    let body = json!({"type": "m.login.password", "identifier": identifier, "password": password});
    let request = http().post(format!("{}/_matrix/client/v3/login", server.client)).json(&body);
    request.send().await.unwrap().json().await.unwrap()
}

#[tokio::test]
async fn accounts_are_made_while_the_server_runs() {
    let server = Server::start(&[CHEAP]).await;
    let data = server.path("data");
    let (done, said) =
        admin(&data, &["create-user", "alice", "--password-stdin"], "one two\n").await;
    assert!(done && said.contains("@alice:localhost:8448"), "{said}");
    assert_eq!(log_in(&server, "alice", "one two").await["user_id"], "@alice:localhost:8448");

    let (done, said) = admin(&data, &["create-user", "alice", "--password-stdin"], "x").await;
    assert!(!done && said.lines().count() == 1, "the name is taken: {said}");
    assert!(!server.log().contains("one two"));
}

#[tokio::test]
async fn what_is_known_about_a_user_is_exported() {
    let server = Server::start(&[CHEAP]).await;
    let data = server.path("data");
    admin(&data, &["create-user", "alice", "--password-stdin"], "password").await;
    let token = log_in(&server, "alice", "password").await["access_token"].clone();
    let send = async |method: http::Method, path: &str, body: Value| -> Value {
        let request = http().request(method, format!("{}/_matrix/client/v3/{path}", server.client));
        let request = request.bearer_auth(token.as_str().unwrap()).json(&body);
        request.send().await.unwrap().json().await.unwrap()
    };
    let user = "@alice:localhost:8448";
    let name = format!("profile/{user}/displayname");
    send(http::Method::PUT, &name, json!({ "displayname": "Alice" })).await;
    let data_path = format!("user/{user}/account_data/org.example");
    send(http::Method::PUT, &data_path, json!({ "a": 1 })).await;
    let room = send(http::Method::POST, "createRoom", json!({})).await;
    let room = room["room_id"].as_str().unwrap();
    for number in 0..3 {
        let path = format!("rooms/{room}/send/m.room.message/{number}");
        send(http::Method::PUT, &path, json!({ "msgtype": "m.text", "body": number.to_string() }))
            .await;
    }
    let upload = format!("{}/_matrix/media/v3/upload?filename=a.txt", server.client);
    let upload = http().post(upload).bearer_auth(token.as_str().unwrap()).body("the file");
    let uploaded: Value = upload.send().await.unwrap().json().await.unwrap();
    let out = server.path("export");
    let arguments = ["export-user", "alice", out.to_str().unwrap()];
    let (done, said) = admin(&data, &arguments, "").await;
    assert!(done && said.contains(user), "{said}");
    let read = |name: &str| -> Value {
        serde_json::from_slice(&std::fs::read(out.join(name)).unwrap()).unwrap()
    };
    assert_eq!(read("account.json")["user_id"], user);
    assert_eq!(read("account.json")["is_erased"], false);
    assert_eq!(read("profile.json"), json!({ "displayname": "Alice" }));
    assert_eq!(read("account_data.json")[0]["content"], json!({ "a": 1 }));
    assert_eq!(read("devices.json").as_array().unwrap().len(), 1);
    assert!(read("devices.json")[0].get("user_agent").is_some());
    assert_eq!(read("rooms.json")[0]["membership"], "join");
    assert_eq!(read("threepids.json"), json!([]));
    let file = read("files.json")[0]["address"].clone();
    assert_eq!(file, uploaded["content_uri"]);
    let file = out.join("files").join(file.as_str().unwrap().rsplit('/').next().unwrap());
    assert_eq!(std::fs::read(file).unwrap(), b"the file");
    let events = std::fs::read_to_string(out.join("events.jsonl")).unwrap();
    let events: Vec<Value> =
        events.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let messages: Vec<&Value> =
        events.iter().filter(|event| event["type"] == "m.room.message").collect();
    assert_eq!(messages.len(), 3);
    assert!(messages.iter().all(|event| event["room_id"] == room && event["event_id"].is_string()));
    assert!(events.iter().all(|event| event["sender"] == user));

    let (done, said) = admin(&data, &arguments, "").await;
    assert!(!done && said.contains("cannot make the directory"), "{said}");
    let nobody = server.path("nobody");
    let (done, _) = admin(&data, &["export-user", "nobody", nobody.to_str().unwrap()], "").await;
    assert!(!done && !nobody.exists());
}

#[tokio::test]
async fn reports_are_listed() {
    let server = Server::start(&[CHEAP]).await;
    let data = server.path("data");
    for name in ["alice", "mallory"] {
        admin(&data, &["create-user", name, "--password-stdin"], "password").await;
    }
    assert_eq!(admin(&data, &["reports"], "").await, (true, String::new()));
    let token = log_in(&server, "alice", "password").await["access_token"].clone();
    for reason in ["spam", "more spam"] {
        let target =
            format!("{}/_matrix/client/v3/users/@mallory:localhost:8448/report", server.client);
        let request = http().post(target).bearer_auth(token.as_str().unwrap());
        let answer = request.json(&json!({ "reason": reason })).send().await.unwrap();
        assert_eq!(answer.status(), 200);
    }
    let (done, said) = admin(&data, &["reports"], "").await;
    assert!(done && said.lines().count() == 2, "{said}");
    let (done, said) = admin(&data, &["reports", "--limit", "1"], "").await;
    assert!(done, "{said}");
    let report: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(report["reason"], "more spam");
    assert_eq!(report["user_id"], "@mallory:localhost:8448");
    assert_eq!(report["reporter"], "@alice:localhost:8448");
}

#[tokio::test]
async fn a_reset_password_ends_the_sessions() {
    let server = Server::start(&[CHEAP]).await;
    let data = server.path("data");
    admin(&data, &["create-user", "alice", "--password-stdin"], "before").await;
    let token = log_in(&server, "alice", "before").await["access_token"].clone();
    let (done, said) =
        admin(&data, &["reset-password", "alice", "--password-stdin"], "after").await;
    assert!(done, "{said}");
    let whoami = http().get(format!("{}/_matrix/client/v3/account/whoami", server.client));
    let response = whoami.bearer_auth(token.as_str().unwrap()).send().await.unwrap();
    assert_eq!(response.status(), 401);
    assert_eq!(log_in(&server, "alice", "before").await["errcode"], "M_FORBIDDEN");
    assert!(log_in(&server, "alice", "after").await["access_token"].is_string());

    let (done, said) = admin(&data, &["reset-password", "bob", "--password-stdin"], "x").await;
    assert!(!done && said.contains("no such account"), "{said}");
}

#[tokio::test]
async fn accounts_are_made_while_the_server_is_stopped() {
    let mut server = Server::start(&[CHEAP]).await;
    server.signal(Signal::TERM);
    assert_eq!(server.exit_code().await, Some(0));
    assert!(!server.path("data/admin.sock").exists());
    let (done, said) = admin(&server.path("data"), &["create-user", "carol", "--admin"], "").await;
    assert!(done, "{said}");
    let password = said.lines().find_map(|line| line.strip_prefix("The password is ")).unwrap();

    let server = Server::start_in(server.directory, &[CHEAP]).await;
    assert!(log_in(&server, "carol", password).await["access_token"].is_string());
}

#[tokio::test]
async fn an_empty_password_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let arguments = ["create-user", "alice", "--password-stdin"];
    let (done, said) = admin(directory.path(), &arguments, "\n").await;
    assert!(!done && said.contains("password"), "{said}");
}

#[tokio::test]
async fn the_first_start_gives_a_token_for_one_registration() {
    let server = Server::start(&[CHEAP]).await;
    let token = server.registration_token.as_ref().unwrap();
    let register = |name: &str| {
        let auth = json!({"type": "m.login.registration_token", "token": token});
        let body = json!({"username": name, "password": "one two three", "auth": auth});
        http().post(format!("{}/_matrix/client/v3/register", server.client)).json(&body)
    };
    let dummy: Value = http()
        .post(format!("{}/_matrix/client/v3/register", server.client))
        .json(&json!({"username": "alice", "password": "one two three"}))
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    assert!(dummy["flows"].to_string().contains("m.login.registration_token"), "{dummy}");
    assert_eq!(register("alice").send().await.unwrap().status(), 200);
    assert_eq!(register("bob").send().await.unwrap().status(), 401);
}

/// What an order prints, a JSON value on each line.
async fn lines(data: &Path, arguments: &[&str]) -> Vec<Value> {
    let (done, said) = admin(data, arguments, "").await;
    assert!(done, "{said}");
    said.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test]
async fn accounts_are_looked_at_and_restricted() {
    let server = Server::start(&[CHEAP]).await;
    let data = server.path("data");
    for name in ["alice", "bob"] {
        admin(&data, &["create-user", name, "--password-stdin"], "password").await;
    }
    let users = lines(&data, &["users", "list"]).await;
    assert_eq!(users.len(), 2);
    assert_eq!(lines(&data, &["users", "list", "--name", "bo"]).await.len(), 1);
    let token = log_in(&server, "alice", "password").await["access_token"].clone();
    let whoami = async || {
        let request = http().get(format!("{}/_matrix/client/v3/account/whoami", server.client));
        let answer = request.bearer_auth(token.as_str().unwrap()).send().await.unwrap();
        answer.json::<Value>().await.unwrap()["errcode"].clone()
    };
    assert_eq!(lines(&data, &["users", "lock", "alice"]).await[0]["locked"], true);
    assert_eq!(whoami().await, "M_USER_LOCKED");
    assert_eq!(lines(&data, &["users", "unlock", "alice"]).await[0]["locked"], false);
    assert_eq!(whoami().await, Value::Null);
    assert_eq!(lines(&data, &["users", "suspend", "alice"]).await[0]["suspended"], true);
    assert_eq!(lines(&data, &["users", "unsuspend", "alice"]).await[0]["suspended"], false);
    for (order, banned) in [("shadow-ban", true), ("unshadow-ban", false)] {
        assert_eq!(lines(&data, &["users", order, "alice"]).await[0]["shadow_banned"], banned);
    }
    for (limits, says) in [
        (&["--per-second", "2", "--burst", "9"][..], "9 at once, and 2 a second"),
        (&["--usual"], "as much as others"),
        (&[], "as much as they like"),
    ] {
        let arguments = [&["users", "rate-limit", "alice"], limits].concat();
        let (done, said) = admin(&data, &arguments, "").await;
        assert!(done && said.contains(says), "{said}");
    }
    let (done, _) = admin(&data, &["users", "rate-limit", "alice", "--burst", "9"], "").await;
    assert!(!done);
    assert_eq!(lines(&data, &["users", "promote", "alice"]).await[0]["admin"], true);
    assert_eq!(lines(&data, &["users", "demote", "alice"]).await[0]["admin"], false);
    let devices = lines(&data, &["users", "devices", "alice"]).await;
    let device = devices[0]["device_id"].as_str().unwrap();
    let (done, said) = admin(&data, &["users", "remove-device", "alice", device], "").await;
    assert!(done, "{said}");
    assert_eq!(whoami().await, "M_UNKNOWN_TOKEN");
    let (done, said) = admin(&data, &["users", "deactivate", "alice"], "").await;
    assert!(done, "{said}");
    assert_eq!(log_in(&server, "alice", "password").await["errcode"], "M_USER_DEACTIVATED");
    assert_eq!(lines(&data, &["users", "list"]).await.len(), 1);
    assert_eq!(lines(&data, &["users", "list", "--deactivated"]).await.len(), 2);
    let (done, said) = admin(&data, &["users", "lock", "nobody"], "").await;
    assert!(!done && said.contains("no such account"), "{said}");
}

#[tokio::test]
async fn rooms_are_looked_at_blocked_and_removed() {
    let server = Server::start(&[CHEAP]).await;
    let data = server.path("data");
    admin(&data, &["create-user", "alice", "--password-stdin"], "password").await;
    let token = log_in(&server, "alice", "password").await["access_token"].clone();
    let create = http().post(format!("{}/_matrix/client/v3/createRoom", server.client));
    let create = create.bearer_auth(token.as_str().unwrap()).json(&json!({ "name": "Den" }));
    let room: Value = create.send().await.unwrap().json().await.unwrap();
    let room = room["room_id"].as_str().unwrap();
    assert_eq!(lines(&data, &["rooms", "list", "--search", "den"]).await[0]["room_id"], room);
    let sizes = lines(&data, &["rooms", "sizes", "--limit", "1"]).await;
    assert_eq!(sizes[0]["room_id"], room);
    assert!(sizes[0]["bytes"].as_i64().unwrap() > 0, "{sizes:?}");
    for (order, says) in [("block", "can join"), ("unblock", "not blocked")] {
        let (done, said) = admin(&data, &["rooms", order, room], "").await;
        assert!(done && said.contains(says), "{said}");
    }
    let (done, said) =
        admin(&data, &["rooms", "purge-history", room, "--days", "1", "--local"], "").await;
    assert!(done, "{said}");
    assert_eq!(lines(&data, &["expired"]).await, [] as [Value; 0]);
    let (done, said) = admin(&data, &["rooms", "delete", room, "--block"], "").await;
    assert!(done, "{said}");
    let id = said.trim().rsplit(' ').next().unwrap().to_owned();
    loop {
        let status = lines(&data, &["rooms", "status", &id]).await.remove(0);
        match status["status"].as_str().unwrap() {
            "scheduled" | "active" => {}
            ended => break assert_eq!(ended, "complete", "{status}"),
        }
    }
    assert_eq!(lines(&data, &["rooms", "list"]).await, [] as [Value; 0]);
    let (done, said) = admin(&data, &["rooms", "delete", "!nowhere:example.org"], "").await;
    assert!(!done && said.contains("no such room"), "{said}");
}

#[tokio::test]
async fn tokens_servers_and_notices_are_at_hand() {
    let notices = ("STARLING__SERVER_NOTICES__LOCALPART", "notices");
    let server = Server::start(&[CHEAP, notices]).await;
    let data = server.path("data");
    let (done, token) = admin(&data, &["tokens", "new", "--uses", "2", "--days", "1"], "").await;
    assert!(done, "{token}");
    let token = token.trim();
    let tokens = lines(&data, &["tokens", "list"]).await;
    assert!(tokens.iter().any(|it| it["token"] == token && it["uses_allowed"] == 2));
    let (done, said) = admin(&data, &["tokens", "remove", token], "").await;
    assert!(done, "{said}");
    let (done, _) = admin(&data, &["tokens", "remove", token], "").await;
    assert!(!done);
    assert_eq!(lines(&data, &["servers", "list"]).await, [] as [Value; 0]);
    let (done, said) = admin(&data, &["servers", "retry", "example.org"], "").await;
    assert!(done, "{said}");

    admin(&data, &["create-user", "alice", "--password-stdin"], "password").await;
    let (done, said) = admin(&data, &["notice", "alice", "The server moves tonight."], "").await;
    assert!(done && said.contains("Sent as $"), "{said}");
    let (done, said) = admin(&data, &["notice", "nobody", "x"], "").await;
    assert!(!done && said.contains("no such account"), "{said}");
}

#[tokio::test]
async fn files_are_looked_at_held_back_and_removed() {
    let server = Server::start(&[CHEAP]).await;
    let data = server.path("data");
    admin(&data, &["create-user", "alice", "--password-stdin"], "password").await;
    let token = log_in(&server, "alice", "password").await["access_token"].clone();
    let token = token.as_str().unwrap();
    let upload = http().post(format!("{}/_matrix/media/v3/upload", server.client));
    let upload = upload.bearer_auth(token).header("content-type", "text/plain").body("hello");
    let uploaded: Value = upload.send().await.unwrap().json().await.unwrap();
    let file = uploaded["content_uri"].as_str().unwrap();
    let address = file.strip_prefix("mxc://").unwrap();
    let status = async || {
        let path = format!("{}/_matrix/client/v1/media/download/{address}", server.client);
        http().get(path).bearer_auth(token).send().await.unwrap().status().as_u16()
    };
    let listed = lines(&data, &["media", "list", "alice"]).await;
    assert_eq!((&listed[0]["address"], &listed[0]["bytes"]), (&json!(file), &json!(5)));
    assert_eq!(lines(&data, &["media", "show", file]).await, listed);
    for (arguments, says, expected) in [
        (&["quarantine", file][..], "1 of them", 404),
        (&["release", file], "is given out", 200),
        (&["quarantine-user", "alice"], "1 of them", 404),
        (&["release", file], "is given out", 200),
        (&["protect", file], "is left out", 200),
        (&["quarantine", file], "0 of them", 200),
        (&["unprotect", file], "is not left out", 200),
        (&["purge-cache", "--days", "1"], "Forgot 0", 200),
        (&["remove-unused", "--days", "1"], "Removed 0", 200),
        (&["remove", file], "Removed mxc://", 404),
    ] {
        let (done, said) = admin(&data, &[&["media"], arguments].concat(), "").await;
        assert!(done && said.contains(says), "{arguments:?}: {said}");
        assert_eq!(status().await, expected, "{arguments:?}");
    }
    for (wrong, says) in [(file, "is not here"), ("https://a.example/b", "is not the address")] {
        let (done, said) = admin(&data, &["media", "show", wrong], "").await;
        assert!(!done && said.contains(says), "{said}");
    }
}
