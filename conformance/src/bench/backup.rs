//! The keys of very many sessions, put into a backup and taken out of it as a whole.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result, ensure};
use futures_util::future::LocalBoxFuture;
use http::Method;
use serde::{Deserialize, de::IgnoredAny};
use serde_json::{Map, Value, json};

use super::{
    Scenario,
    measure::{self, Series},
    stage::Stage,
};
use crate::client::{User, path, text};

const SESSIONS: usize = 100_000;
/// How many sessions a client puts in one request.
const BATCH: usize = 200;
/// How many sessions a room has.
const OF_A_ROOM: usize = 100;
const RESTORES: usize = 3;
/// As many characters as the encrypted key of a session has.
const CIPHERTEXT: usize = 500;

/// A user whose client backs up all keys that it has, and a new one that restores them.
#[derive(Debug, Default)]
pub(super) struct Backup {
    user: Option<User>,
    version: String,
    sessions: usize,
    restored: Vec<BTreeSet<(String, String)>>,
}

#[derive(Deserialize)]
struct Restored {
    rooms: BTreeMap<String, Room>,
}

#[derive(Deserialize)]
struct Room {
    sessions: BTreeMap<String, IgnoredAny>,
}

impl Scenario for Backup {
    fn name(&self) -> &str {
        "key backup"
    }

    fn prepare<'a>(&'a mut self, stage: &'a Stage) -> LocalBoxFuture<'a, Result<()>> {
        Box::pin(async {
            let user = stage.user("keeper").await?;
            let body = json!({
                "algorithm": "m.megolm_backup.v1.curve25519-aes-sha2",
                "auth_data": { "public_key": "abc" },
            });
            let made = user.api.post("/_matrix/client/v3/room_keys/version", body).await?.ok()?;
            self.version = text(&made, "/version")?.to_owned();
            self.sessions = stage.scaled(SESSIONS);
            self.user = Some(user);
            Ok(())
        })
    }

    fn play<'a>(&'a mut self, stage: &'a Stage) -> LocalBoxFuture<'a, Result<Vec<Series>>> {
        Box::pin(async {
            let user = self.user.as_ref().context("nobody has keys")?;
            let target = path("/_matrix/client/v3/room_keys/keys?version={}", &[&self.version]);
            let batches = (0..self.sessions).step_by(BATCH);
            let (put, _) = measure::each("put 200 sessions", 1, batches, |first| {
                let last = (first + BATCH).min(self.sessions);
                let body = batch(first..last);
                async { user.api.put(&target, body).await?.ok() }
            })
            .await?;
            let restores = stage.scaled(RESTORES).min(RESTORES);
            let (restore, restored) =
                measure::each("restore all", 1, 0..restores, |_| restore(user, &target)).await?;
            self.restored = restored;
            Ok(vec![put, restore])
        })
    }

    fn verify<'a>(&'a mut self, _: &'a Stage) -> LocalBoxFuture<'a, Result<()>> {
        Box::pin(async {
            let wanted: BTreeSet<_> = (0..self.sessions).map(name).collect();
            for restored in &self.restored {
                ensure!(*restored == wanted, "there came {} sessions", restored.len());
            }
            let user = self.user.as_ref().context("nobody has keys")?;
            let found = user.api.get("/_matrix/client/v3/room_keys/version").await?.ok()?;
            ensure!(found["count"] == self.sessions, "the backup says {}", found["count"]);
            Ok(())
        })
    }
}

/// The room of a session, and its name.
fn name(number: usize) -> (String, String) {
    let room = number / OF_A_ROOM;
    (format!("!room{room:05}:example.org"), format!("session+{number:07}/{number:035}"))
}

fn batch(numbers: impl Iterator<Item = usize>) -> Value {
    let mut rooms: BTreeMap<String, Map<String, Value>> = BTreeMap::new();
    for number in numbers {
        let (room, session) = name(number);
        let data = json!({
            "ciphertext": format!("{number:0CIPHERTEXT$}"), "mac": "abcdefghijk",
            "ephemeral": "c2l4dHkgZm91ciBieXRlcyBvZiBzb21ldGhpbmcgdGhhdCBsb28",
        });
        let value = json!({
            "first_message_index": 0, "forwarded_count": 0, "is_verified": true,
            "session_data": data,
        });
        rooms.entry(room).or_default().insert(session, value);
    }
    let rooms = rooms.into_iter().map(|(room, it)| (room, json!({ "sessions": it })));
    json!({ "rooms": rooms.collect::<Map<_, _>>() })
}

/// The sessions of the whole backup. It is not kept as JSON, which would take the memory of the machine
/// that is measured.
async fn restore(user: &User, target: &str) -> Result<BTreeSet<(String, String)>> {
    let answer = user.api.builder(Method::GET, target).send().await?.error_for_status()?;
    let restored: Restored = serde_json::from_slice(&answer.bytes().await?)?;
    let sessions = restored
        .rooms
        .into_iter()
        .flat_map(|(room, it)| it.sessions.into_keys().map(move |session| (room.clone(), session)));
    Ok(sessions.collect())
}
