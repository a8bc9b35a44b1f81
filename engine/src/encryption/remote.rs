//! Asking other servers for keys of their users.
//!
//! <https://spec.matrix.org/v1.19/server-server-api/#end-to-end-encryption>

use std::{collections::BTreeMap, time::Duration};

use futures_util::{StreamExt as _, stream};
use http::Method;
use ruma::{OwnedServerName, OwnedUserId, ServerName, UserId};
use serde::Deserialize;
use serde_json::{Value, json};
use starling_storage::encryption::remote_lists;

use super::{
    claim::{Claimed, only_wanted},
    query::{self, Asking, Keys, Wanted},
    remote_lists as lists, shapes,
};
use crate::{
    Engine, Internal,
    ask::{self, AskError},
    remote::Limits,
};

/// How many servers are asked at a time.
const AT_A_TIME: usize = 32;
/// How long a client waits if it does not say.
const USUAL_WAIT_MS: u64 = 10_000;
/// How long a client waits at most.
const LONGEST_WAIT_MS: u64 = 20_000;
/// How many lists of one server are taken over for one question. The others are asked for together,
/// and not remembered.
const MOST_TAKEN_OVER: usize = 20;

/// A word about a server that did not answer.
pub(crate) fn failure() -> Value {
    json!({ "status": 503, "message": "The server did not answer" })
}

fn limits(timeout_ms: Option<u64>) -> Limits {
    let wait = timeout_ms.unwrap_or(USUAL_WAIT_MS).clamp(1_000, LONGEST_WAIT_MS);
    Limits { timeout: Duration::from_millis(wait), ..Limits::default() }
}

fn by_server<T>(
    wanted: BTreeMap<OwnedUserId, T>,
) -> BTreeMap<OwnedServerName, BTreeMap<String, T>> {
    let mut servers: BTreeMap<OwnedServerName, BTreeMap<String, T>> = BTreeMap::new();
    for (user, wanted) in wanted {
        let server = user.server_name().to_owned();
        servers.entry(server).or_default().insert(user.to_string(), wanted);
    }
    servers
}

/// Claims one-time keys, server by server; `None`: it did not answer.
pub(crate) async fn claim(
    engine: &Engine,
    wanted: BTreeMap<OwnedUserId, BTreeMap<String, String>>,
    timeout_ms: Option<u64>,
) -> Vec<(OwnedServerName, Option<Claimed>)> {
    #[derive(Deserialize)]
    struct Answered {
        one_time_keys: Claimed,
    }
    let limits = limits(timeout_ms);
    let asked = by_server(wanted).into_iter().map(|(server, wanted)| async move {
        let path = ask::path("v1/user/keys/claim", &[]);
        let body = json!({ "one_time_keys": wanted });
        let answer = ask::send(engine, &server, Method::POST, path, &body, limits).await;
        let claimed = answer.map(|answer: Answered| only_wanted(answer.one_time_keys, &wanted));
        (server.clone(), ok(&server, claimed))
    });
    stream::iter(asked).buffer_unordered(AT_A_TIME).collect().await
}

/// Asks for the keys of users, server by server; `None`: it did not answer.
pub(crate) async fn query(
    engine: &Engine,
    user: &UserId,
    wanted: BTreeMap<OwnedUserId, Vec<String>>,
    timeout_ms: Option<u64>,
) -> Vec<(OwnedServerName, Result<Option<Keys>, Internal>)> {
    let limits = limits(timeout_ms);
    let asked = by_server(wanted).into_iter().map(|(server, wanted)| async move {
        let keys = of_server(engine, user, &server, wanted, limits).await;
        (server, keys)
    });
    stream::iter(asked).buffer_unordered(AT_A_TIME).collect().await
}

fn ok<T>(server: &ServerName, answer: Result<T, AskError>) -> Option<T> {
    answer
        .inspect_err(|error| {
            tracing::info!(server.name = %server, %error, "a server did not give its users' keys");
        })
        .ok()
}

/// The keys of users of one server: of those who share a room with somebody here as they are known,
/// of the others as the server says now.
async fn of_server(
    engine: &Engine,
    user: &UserId,
    server: &ServerName,
    mut wanted: Wanted,
    limits: Limits,
) -> Result<Option<Keys>, Internal> {
    let users: Vec<String> = wanted.keys().cloned().collect();
    let mut conn = engine.storage.read().await?;
    let shared = remote_lists::shared(&mut conn, &users).await?;
    let known = remote_lists::known(&mut conn, &shared).await?;
    drop(conn);
    let mut known: Vec<String> =
        known.into_iter().filter(|list| !list.stale).map(|list| list.user_id).collect();
    let unknown: Vec<String> =
        shared.into_iter().filter(|user| !known.contains(user)).take(MOST_TAKEN_OVER).collect();
    for user in unknown {
        if lists::take_over(engine, &user, limits).await? {
            known.push(user);
        }
    }
    let cached: Wanted = known.into_iter().filter_map(|user| wanted.remove_entry(&user)).collect();
    let mut keys = Keys::default();
    let mut conn = engine.storage.snapshot().await?;
    query::cached(&mut conn, Asking::User(user), &cached, &mut keys).await?;
    drop(conn);
    if wanted.is_empty() {
        return Ok(Some(keys));
    }
    let Some(mut asked) = ok(server, ask_for(engine, server, &wanted, limits).await) else {
        // What is known is not kept back for what is not.
        return Ok((!cached.is_empty()).then_some(keys));
    };
    let users: Vec<String> = wanted.into_keys().collect();
    let mut conn = engine.storage.read().await?;
    query::add_own_signatures(&mut conn, user, &users, &mut asked).await?;
    keys.add(asked);
    Ok(Some(keys))
}

async fn ask_for(
    engine: &Engine,
    server: &ServerName,
    wanted: &Wanted,
    limits: Limits,
) -> Result<Keys, AskError> {
    let path = ask::path("v1/user/keys/query", &[]);
    let body = json!({ "device_keys": wanted });
    let mut keys: Keys = ask::send(engine, server, Method::POST, path, &body, limits).await?;
    // A server speaks for its own users, and of those who were asked for.
    keys.device_keys.retain(|user, _| wanted.contains_key(user));
    for (user, devices) in &mut keys.device_keys {
        let Ok(user) = <&UserId>::try_from(user.as_str()) else { continue };
        devices.retain(|device, keys| {
            shapes::device_keys(&keys.to_string(), user, device.as_str().into()).is_ok()
        });
    }
    for (signing_keys, usage) in
        [(&mut keys.master_keys, "master"), (&mut keys.self_signing_keys, "self_signing")]
    {
        signing_keys.retain(|user, key| {
            let id = <&UserId>::try_from(user.as_str());
            let is_key = |id| shapes::signing_key(&key.to_string(), id, usage).is_ok();
            wanted.contains_key(user) && id.is_ok_and(is_key)
        });
    }
    keys.user_signing_keys.clear();
    Ok(keys)
}
