//! Handing out one-time keys: each once, in the order in which they were uploaded.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3keysclaim>

use std::collections::{BTreeMap, HashSet};

use ruma::{OwnedUserId, UserId};
use serde::Serialize;
use serde_json::{Map, Value};
use starling_storage::{
    Change, Claim, CommitError, Conn,
    encryption::{
        Write,
        one_time_keys::{self, KeyRow},
    },
};

use super::{remote, upload::supply_of};
use crate::{Engine, Internal};

/// How many users' keys are handed out by one change.
const USERS_AT_ONCE: usize = 50;
/// How often a change is made again when another process was faster.
const TRIES: usize = 10;

/// By user and device: of which algorithm a key is wanted.
pub type Wanted = BTreeMap<String, BTreeMap<String, String>>;

/// By user and device: the key under its name.
pub type Claimed = BTreeMap<String, BTreeMap<String, Map<String, Value>>>;

/// Keys that were handed out, and the servers that did not answer.
#[derive(Debug, Default, Serialize)]
pub struct Answer {
    /// The keys.
    pub one_time_keys: Claimed,
    /// The servers, each with a word about it.
    pub failures: BTreeMap<String, Value>,
}

/// Claims keys of devices, also of those of other servers, for which it is waited so many milliseconds.
///
/// # Errors
///
/// When this server fails.
pub async fn claim(
    engine: &Engine,
    wanted: BTreeMap<OwnedUserId, BTreeMap<String, String>>,
    timeout_ms: Option<u64>,
) -> Result<Answer, Internal> {
    let own = engine.config.server_name.clone();
    let (here, there): (BTreeMap<_, _>, BTreeMap<_, _>) =
        wanted.into_iter().partition(|(user, _)| user.server_name() == own);
    let here = here.into_iter().map(|(user, devices)| (user.to_string(), devices)).collect();
    let one_time_keys = local(engine, &here).await?;
    let mut answer = Answer { one_time_keys, ..Answer::default() };
    for (server, claimed) in remote::claim(engine, there, timeout_ms).await {
        match claimed {
            Some(claimed) => answer.one_time_keys.extend(claimed),
            None => drop(answer.failures.insert(server.to_string(), remote::failure())),
        }
    }
    Ok(answer)
}

/// Hands out keys of devices of users of this deployment. Devices that have none are left out.
///
/// # Errors
///
/// When the server fails. Keys that were handed out by then are lost, which their owners stand.
pub async fn local(engine: &Engine, wanted: &Wanted) -> Result<Claimed, Internal> {
    let own = |user: &&String| {
        <&UserId>::try_from(user.as_str())
            .is_ok_and(|user| user.server_name() == engine.config.server_name)
    };
    let users: Vec<&String> = wanted.keys().filter(own).collect();
    let mut claimed = Claimed::new();
    for users in users.chunks(USERS_AT_ONCE) {
        let _turns = engine.encryption.turns.of(users.iter().map(|user| user.as_str())).await;
        for attempt in 1.. {
            match once(engine, users, wanted).await {
                Ok(keys) => {
                    claimed.extend(keys);
                    break;
                }
                Err(Internal::Commit(CommitError::UsedUp)) if attempt < TRIES => {}
                Err(error) => return Err(error),
            }
        }
    }
    Ok(claimed)
}

async fn once(engine: &Engine, users: &[&String], wanted: &Wanted) -> Result<Claimed, Internal> {
    let mut conn = engine.storage.read().await?;
    let (mut change, mut claimed) = (Change::new(), Claimed::new());
    for user in users {
        let mut devices = BTreeMap::new();
        for (device, algorithm) in wanted.get(*user).into_iter().flatten() {
            let Some(key) = key(&mut conn, &mut change, user, device, algorithm).await? else {
                continue;
            };
            let name = format!("{}:{}", key.algorithm, key.key_id);
            let key = Map::from_iter([(name, serde_json::from_str(&key.json)?)]);
            devices.insert(device.clone(), key);
        }
        if !devices.is_empty() {
            claimed.insert((*user).clone(), devices);
        }
    }
    drop(conn);
    if !change.is_empty() {
        engine.storage.commit(change).await?;
    }
    Ok(claimed)
}

/// The key of a device that is next, or its fallback key.
async fn key(
    conn: &mut Conn,
    change: &mut Change,
    user: &str,
    device: &str,
    algorithm: &str,
) -> Result<Option<KeyRow>, Internal> {
    let next = one_time_keys::next(conn, user, device, algorithm, 1).await?;
    if let Some(key) = next.into_iter().next() {
        change.claim(Claim::OneTimeKey(key.clone()));
        change.fact(supply_of(user, device));
        return Ok(Some(key));
    }
    let fallback = one_time_keys::fallback(conn, user, device).await?;
    let Some(key) = fallback.into_iter().find(|key| key.algorithm == algorithm) else {
        return Ok(None);
    };
    if !key.claimed {
        change.write(Write::OneTimeKey(one_time_keys::Write::FallbackUsed(key.clone())));
        change.fact(supply_of(user, device));
    }
    Ok(Some(key))
}

/// Of an answer of another server what was asked for.
pub(crate) fn only_wanted(mut answered: Claimed, wanted: &Wanted) -> Claimed {
    let mut claimed = Claimed::new();
    for (user, devices) in wanted {
        let Some(answered) = answered.remove(user) else { continue };
        let names: HashSet<&String> = devices.keys().collect();
        let devices: BTreeMap<_, _> =
            answered.into_iter().filter(|(device, _)| names.contains(device)).collect();
        if !devices.is_empty() {
            claimed.insert(user.clone(), devices);
        }
    }
    claimed
}
