//! Answers without end, without content, too late, to elsewhere: whatever the server asks the
//! attacker, it ends, and nobody else waits.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use super::stage::Watch;
use crate::{
    client::{User, path},
    evil::{Peer, Reply},
    report::Report,
    servers::{Server, TestCa},
};

/// How long a question of a client's may take that the attacker has to answer.
const PATIENCE: Duration = Duration::from_secs(75);

/// Plays the attacks of this file.
pub(super) async fn play(report: &mut Report, server: &Server, ca: &TestCa) {
    for (name, reply) in lies() {
        report.case(&format!("answers: {name}"), lied_to(server, ca, &reply)).await;
    }
}

/// What an attacker answers instead of the truth.
pub fn lies() -> Vec<(&'static str, Reply)> {
    let large = json!({ "odd": vec!["x".repeat(1024); 1024] });
    vec![
        ("no end", Reply::Endless),
        ("one byte a second", Reply::Trickle),
        ("nothing at all", Reply::Silence),
        ("a redirection to itself", Reply::Redirect("/_matrix/elsewhere".to_owned())),
        ("no JSON", Reply::Bytes(200, "text/html", "<html>".into())),
        ("a list", Reply::ok(json!([]))),
        ("null", Reply::ok(Value::Null)),
        ("an empty object", Reply::ok(json!({}))),
        ("much that nobody asked for", Reply::ok(large)),
        ("an error", Reply::error(500, "M_UNKNOWN")),
        ("an error that is no Matrix error", Reply::Bytes(599, "text/plain", "?".into())),
    ]
}

/// Every question that a client can make the server ask: all are asked at once.
pub async fn lied_to(server: &Server, ca: &TestCa, reply: &Reply) -> Result<()> {
    let peer = Peer::start(ca).await?;
    let alice = User::register(server, "alice").await?;
    let reply = reply.clone();
    peer.script(move |request| {
        let keys = request.path.starts_with("/_matrix/key/v2/server");
        (!keys).then(|| reply.clone())
    });
    let watch = Watch::begin(server).await?;
    let begun = Instant::now();
    let name = &peer.name;
    let (user, alias) = (peer.user("mallory"), format!("#room:{name}"));
    let room = format!("!room:{name}");
    let hierarchy = path("/_matrix/client/v1/rooms/{}/hierarchy", &[&room]);
    let (profile, directory) = (
        path("/_matrix/client/v3/profile/{}", &[&user]),
        path("/_matrix/client/v3/directory/room/{}", &[&alias]),
    );
    let rooms = path("/_matrix/client/v3/publicRooms?server={}", &[name]);
    let via = [name.as_str()];
    let (profile, directory, rooms, hierarchy, join) = tokio::join!(
        alice.api.get(&profile),
        alice.api.get(&directory),
        alice.api.get(&rooms),
        alice.api.get(&hierarchy),
        alice.try_join(&room, &via),
    );
    for (what, answer) in [
        ("profile", profile?),
        ("directory", directory?),
        ("publicRooms", rooms?),
        ("hierarchy", hierarchy?),
        ("join", join?),
    ] {
        ensure!(answer.status != 500, "{what}: {answer:?}");
    }
    let spent = begun.elapsed();
    ensure!(spent < PATIENCE, "the questions took {spent:?}");
    ensure!(peer.seen("elsewhere").is_empty(), "a redirection was followed");
    watch.end().await?;
    Ok(())
}
