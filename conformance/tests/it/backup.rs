//! `starling backup create | verify | restore`: all that was acknowledged before it began is there again.

use std::{fs, path::Path, process::Command};

use serde_json::{Value, json};
use starling_conformance::{
    client::{User, path},
    servers::{Kind, Server, Spec, starling},
};

use crate::{
    client::media::{download, upload},
    support,
};

/// Runs `starling backup` with a server's configuration; what it says, and whether it is content.
pub(crate) async fn backup(server: &Server, order: &str, directory: &Path) -> (String, bool) {
    let mut command = tokio::process::Command::from(Command::new(starling::binary().unwrap()));
    command.args(["backup", order]).arg(directory).envs(server.environment());
    if order != "verify" {
        command.arg("--config").arg(server.directory().join("starling.toml"));
        command.arg("--data").arg(server.directory().join("data"));
    }
    let output = command.output().await.unwrap();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    (String::from_utf8_lossy(&output.stdout).into_owned() + &errors, output.status.success())
}

pub(crate) async fn good(server: &Server, order: &str, directory: &Path) -> String {
    let (said, good) = backup(server, order, directory).await;
    assert!(good, "{said}");
    said
}

async fn bad(server: &Server, order: &str, directory: &Path, says: &str) {
    let (said, good) = backup(server, order, directory).await;
    assert!(!good && said.contains(says), "{said}");
}

/// All events of a room in their order, without what depends on when and by whom they are read.
async fn events(user: &User, room: &str) -> Vec<Value> {
    let mut events = user.history(room).await.unwrap();
    for event in &mut events {
        event.as_object_mut().unwrap().remove("unsigned");
    }
    events
}

async fn signing_keys(server: &Server) -> Value {
    let peer = support::peer().await;
    let (method, target) = (http::Method::GET, "/_matrix/key/v2/server");
    let answer = peer.request_as(server, method, target, None, None).await.unwrap();
    answer.ok().unwrap()["verify_keys"].clone()
}

/// Another deployment of the same name, which has not been started.
pub(crate) fn another(spec: &Spec) -> Server {
    spec.clone().prepare(support::ca()).unwrap()
}

#[tokio::test]
async fn what_was_acknowledged_before_a_backup_is_restored_from_it() {
    let spec = support::spec();
    if spec.kind != Kind::Starling {
        return;
    }
    let server = support::start(spec.clone()).await;
    let alice = User::register(&server, "alice").await.unwrap();
    let room = alice.create_public_room().await.unwrap();
    let file = upload(&alice, "text/plain", "?filename=a.txt", b"what the file says").await;
    let keys = json!({ "one_time_keys": { "signed_curve25519:AAAA": {
        "key": "IQ2yBk0ipaxAd9NqDKb9Rq1EpKNIdPhNyHQSJzhzvy8", "signatures": {} } } });
    alice.api.post("/_matrix/client/v3/keys/upload", keys).await.unwrap().ok().unwrap();
    let mut acknowledged = Vec::new();
    for number in 0..20 {
        acknowledged.push(alice.say(&room, &format!("before {number}")).await.unwrap());
    }

    let kept = tempfile::tempdir().unwrap();
    let directory = kept.path().join("backup");
    {
        let mut copying = std::pin::pin!(good(&server, "create", &directory));
        loop {
            tokio::select! {
                said = &mut copying => break assert!(said.contains("1 files"), "{said}"),
                sent = alice.say(&room, "meanwhile") => { sent.unwrap(); }
            }
        }
    }
    alice.say(&room, "after").await.unwrap();
    assert!(good(&server, "verify", &directory).await.contains("is whole"));
    bad(&server, "create", &directory, "cannot make the directory").await;
    bad(&server, "restore", &directory, if is_sqlite(&spec) { "already" } else { "not empty" })
        .await;
    let before = events(&alice, &room).await;
    let signing = signing_keys(&server).await;
    server.stop().unwrap();

    let restored = another(&spec);
    good(&restored, "restore", &directory).await;
    restored.resume().await.unwrap();
    assert_eq!(signing_keys(&restored).await, signing);
    let again = events(&alice, &room).await;
    assert!(again.len() < before.len() && before.starts_with(&again));
    for event in &acknowledged {
        assert!(again.iter().any(|it| it["event_id"] == **event), "{event}");
    }
    assert_eq!(
        download(&alice.api, &file).await.expect_status(200).unwrap().bytes,
        "what the file says"
    );
    // The key may have been handed out after the backup was made.
    let claim = json!({ "one_time_keys": { &alice.id: { &alice.device: "signed_curve25519" } } });
    let claimed =
        alice.api.post("/_matrix/client/v3/keys/claim", claim).await.unwrap().ok().unwrap();
    assert_eq!(claimed["one_time_keys"], json!({}));
    let said = alice.say(&room, "we go on").await.unwrap();
    assert_eq!(events(&alice, &room).await.last().unwrap()["event_id"], said);
    alice.login().await.unwrap();
    let state = path("/_matrix/client/v3/rooms/{}/state", &[&room]);
    assert!(alice.api.get(&state).await.unwrap().ok().unwrap().as_array().unwrap().len() > 4);
}

fn is_sqlite(spec: &Spec) -> bool {
    spec.database == starling_conformance::servers::DatabaseKind::Sqlite
}

#[tokio::test]
async fn a_damaged_backup_is_noticed_and_not_restored() {
    let spec = support::spec();
    if spec.kind != Kind::Starling {
        return;
    }
    let server = support::start(spec.clone()).await;
    let alice = User::register(&server, "alice").await.unwrap();
    upload(&alice, "text/plain", "", b"what the file says").await;
    let kept = tempfile::tempdir().unwrap();
    let directory = kept.path().join("backup");
    good(&server, "create", &directory).await;
    server.stop().unwrap();
    let database = if is_sqlite(&spec) { "starling.db" } else { "starling.dump" };
    let names = fs::read_to_string(directory.join("files.txt")).unwrap();
    let file = find(&directory.join("media"), names.trim());
    let other = another(&spec);
    for (path, says) in [
        (directory.join(database), "is damaged"),
        (directory.join("files.txt"), "is damaged"),
        (file, "is damaged"),
        (directory.join("backup.json"), "is damaged"),
    ] {
        let sound = fs::read(&path).unwrap();
        let mut flipped = sound.clone();
        flipped[sound.len() / 2] ^= 0x80;
        fs::write(&path, flipped).unwrap();
        bad(&server, "verify", &directory, says).await;
        bad(&other, "restore", &directory, says).await;
        fs::remove_file(&path).unwrap();
        let (_, good) = backup(&server, "verify", &directory).await;
        assert!(!good, "{}", path.display());
        fs::write(&path, sound).unwrap();
    }
    good(&server, "verify", &directory).await;
    let stranger = Spec { name: "elsewhere.example".to_owned(), ..spec };
    bad(&another(&stranger), "restore", &directory, "the backup is of").await;
    bad(&other, "create", &kept.path().join("nothing"), "database").await;
    good(&other, "restore", &directory).await;
}

/// The path of the file of that name somewhere in a directory.
fn find(directory: &Path, name: &str) -> std::path::PathBuf {
    let mut directories = vec![directory.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
            } else if name.ends_with(path.file_name().unwrap().to_str().unwrap()) {
                return path;
            }
        }
    }
    panic!("there is no {name}");
}
