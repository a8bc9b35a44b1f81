//! The keys of other servers: fetched from them, kept in memory and in the database.
//!
//! A server is asked when a key that somebody claims to have used is not known or no longer
//! valid. Strangers make such claims, so between two requests to a server there is a pause: a short one when
//! the server gave the key, since it may have another one soon, and one that grows while it does not answer.

use std::{collections::BTreeMap, sync::Arc};

use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use futures_util::future::try_join_all;
use moka::{Entry, future::Cache};
use ruma::{
    MilliSecondsSinceUnixEpoch, OwnedServerName, ServerName, UInt,
    room_version_rules::RoomVersionRules,
};
use starling_storage::{
    Change, DbError,
    federation::{self, RemoteKeyRow},
};
use tokio::sync::Semaphore;

use super::{
    document::public_key,
    fetch::{self, Fetched},
    many::Wanted,
    signing::key_id,
};
use crate::{
    Engine,
    events::{
        Pdu,
        verify::{ServerKey, ServerKeys, SignatureError, signing_keys},
    },
    measures::Size,
};

/// The pause after a request that gave a wanted key.
const SHORT_PAUSE_MS: i64 = 1_000;
/// The pause after one that did not; each failure in a row doubles it ...
const FIRST_PAUSE_MS: i64 = 10_000;
/// ... up to this.
const MAX_PAUSE_MS: i64 = 10 * 60_000;
/// How many servers' keys are kept in memory.
const MAX_SERVERS: u64 = 16 * 1024;

/// How many servers are asked for keys at a time. Whoever signs in the name of thousands of servers
/// that do not answer must not use up our ways to those that do.
const MAX_ASKING: usize = 128;

/// Why keys could not be looked up. A server that does not answer is no error: its keys are the
/// ones that are known already.
#[derive(Clone, Debug, thiserror::Error)]
pub enum RemoteKeysError {
    /// The event does not tell who has to sign it.
    #[error(transparent)]
    Malformed(Arc<SignatureError>),
    /// The database failed.
    #[error(transparent)]
    Internal(Arc<DbError>),
}

/// The keys of other servers that are in memory; a server is asked by one task at a time.
#[derive(Debug)]
pub struct RemoteKeys {
    cache: Cache<OwnedServerName, Result<Known, Arc<DbError>>>,
    asking: Semaphore,
}

impl Default for RemoteKeys {
    fn default() -> Self {
        Self { cache: Cache::new(MAX_SERVERS), asking: Semaphore::new(MAX_ASKING) }
    }
}

impl RemoteKeys {
    /// How many servers' keys are in memory.
    #[must_use]
    pub fn size(&self) -> Size {
        Size { entries: self.cache.entry_count(), bytes: None }
    }
}

/// What is known of one server.
#[derive(Clone, Debug, Default)]
struct Known {
    keys: Arc<BTreeMap<String, ServerKey>>,
    /// The server is not asked before this time, in milliseconds.
    pause_until_ms: i64,
    /// Requests in a row that gave no keys.
    failures: u32,
}

impl Known {
    /// Whether one of the keys is known and valid at the time.
    fn suffices(&self, key_ids: &[String], valid_at_ms: i64) -> bool {
        suffices(&self.keys, key_ids, valid_at_ms)
    }

    /// Adds what the server itself says now to what is known: a key that it forgot to list as old
    /// stays valid for as long as it said when it listed it.
    fn hear(&mut self, fetched: &Fetched) {
        Arc::make_mut(&mut self.keys).extend(fetched.keys.clone());
    }

    /// Adds what a notary remembers, which may be older than what is known.
    fn hear_of(&mut self, fetched: &Fetched) {
        let keys = Arc::make_mut(&mut self.keys);
        for (key_id, key) in &fetched.keys {
            let known = keys.entry(key_id.clone()).or_insert_with(|| key.clone());
            if known.valid_until_ts < key.valid_until_ts {
                *known = key.clone();
            }
        }
    }
}

/// Whether one of the keys is known and valid at the time.
pub(super) fn suffices(
    known: &BTreeMap<String, ServerKey>,
    key_ids: &[String],
    valid_at_ms: i64,
) -> bool {
    let valid_at = timestamp(valid_at_ms);
    key_ids.iter().any(|id| known.get(id).is_some_and(|key| key.valid_until_ts >= valid_at))
}

/// The known keys of `server` by ID, after an attempt to fetch them if none of `key_ids` is known
/// and valid at `valid_at_ms` (milliseconds).
///
/// The caller checks what it got: the wanted key may be missing or expired.
///
/// # Errors
///
/// [`RemoteKeysError::Internal`] only.
pub async fn server_keys(
    engine: &Engine,
    server: &ServerName,
    key_ids: &[String],
    valid_at_ms: i64,
) -> Result<Arc<BTreeMap<String, ServerKey>>, RemoteKeysError> {
    keys_by(engine, server, key_ids, valid_at_ms, Way::ServerAndNotaries).await
}

/// As [`server_keys`], but only the server itself is asked: the notaries are asked for many at once.
///
/// # Errors
///
/// [`RemoteKeysError::Internal`] only.
pub(super) async fn own_word(
    engine: &Engine,
    wanted: &Wanted,
) -> Result<Arc<BTreeMap<String, ServerKey>>, RemoteKeysError> {
    let Wanted { server, key_ids, valid_at_ms } = wanted;
    keys_by(engine, server, key_ids, *valid_at_ms, Way::Server).await
}

/// Whom to ask.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Way {
    Server,
    ServerAndNotaries,
}

async fn keys_by(
    engine: &Engine,
    server: &ServerName,
    key_ids: &[String],
    valid_at_ms: i64,
    way: Way,
) -> Result<Arc<BTreeMap<String, ServerKey>>, RemoteKeysError> {
    if server == engine.config.server_name {
        return Ok(Arc::new(own_keys(engine)));
    }
    let now_ms = engine.clock.now_ms();
    // No server promises anything for the future; asking again would not help.
    let valid_at_ms = valid_at_ms.min(now_ms);
    let cache = &engine.remote_keys.cache;
    let previous = cache.get(server).await.and_then(Result::ok);
    let wanted = Wanted { server: server.to_owned(), key_ids: key_ids.to_vec(), valid_at_ms };
    cache
        .entry_by_ref(server)
        .or_insert_with_if(look_up(engine, wanted, previous, way), |known| {
            known.as_ref().map_or(true, |known| {
                known.pause_until_ms <= now_ms && !known.suffices(key_ids, valid_at_ms)
            })
        })
        .await
        .into_value()
        .map(|known| known.keys)
        .map_err(RemoteKeysError::Internal)
}

/// The keys by which an event claims to be signed, of every server that has to sign it: what
/// [`crate::events::verify::verify`] needs.
///
/// # Errors
///
/// [`RemoteKeysError::Malformed`] when the event is to be dropped.
pub async fn keys_for_event(
    engine: &Engine,
    pdu: &Pdu,
    rules: &RoomVersionRules,
) -> Result<ServerKeys, RemoteKeysError> {
    let claimed =
        signing_keys(pdu, rules).map_err(|error| RemoteKeysError::Malformed(Arc::new(error)))?;
    // Where the room version does not ask when a key was valid, any time will do.
    let valid_at_ms =
        if rules.enforce_key_validity { i64::from(pdu.origin_server_ts.get()) } else { 0 };
    let look_ups = claimed.into_iter().map(async |(server, key_ids)| {
        let mut keys = (*server_keys(engine, &server, &key_ids, valid_at_ms).await?).clone();
        keys.retain(|id, _| key_ids.contains(id));
        Ok((server, keys))
    });
    Ok(try_join_all(look_ups).await?.into_iter().collect())
}

/// Our own keys are not fetched from anywhere.
fn own_keys(engine: &Engine) -> BTreeMap<String, ServerKey> {
    let keys = &engine.signing_keys;
    let active = keys.active().map(|key| {
        let valid_until_ts = MilliSecondsSinceUnixEpoch(UInt::MAX);
        (key_id(key), ServerKey { public_key: key.public_key().to_vec(), valid_until_ts })
    });
    let old = keys.old().iter().filter_map(|key| {
        let public_key = public_key(&key.key_id, &key.public_key)?;
        let valid_until_ts = timestamp(key.expired_ts);
        Some((key.key_id.clone(), ServerKey { public_key, valid_until_ts }))
    });
    old.chain(active).collect()
}

async fn look_up(
    engine: &Engine,
    wanted: Wanted,
    previous: Option<Known>,
    way: Way,
) -> Result<Known, Arc<DbError>> {
    let Wanted { server, key_ids, valid_at_ms } = &wanted;
    let known = known_before(engine, server, previous).await?;
    if known.suffices(key_ids, *valid_at_ms) {
        return Ok(known);
    }
    let direct = {
        let _place = engine.remote_keys.asking.acquire().await;
        fetch::direct(engine, server).await
    };
    match direct {
        Ok(_) => engine.measures.keys.given.count(),
        Err(_) => engine.measures.keys.not_given.count(),
    }
    let mut known = after_attempt(known, &direct, &wanted, engine.clock.now_ms());
    let mut fetched = Vec::from_iter(direct);
    if way == Way::ServerAndNotaries && !known.suffices(key_ids, *valid_at_ms) {
        let notarised = fetch::from_notaries(engine, vec![wanted.clone()]).await;
        let notarised = notarised.into_iter().map(|(_, fetched)| fetched);
        fetched.extend(notarised.inspect(|fetched| known.hear_of(fetched)));
    }
    keep(engine, server, &known, fetched).await;
    Ok(known)
}

/// Takes in what notaries said of a server, and gives all keys of it that are known.
///
/// # Errors
///
/// [`RemoteKeysError::Internal`] only.
pub(super) async fn hear_of(
    engine: &Engine,
    server: &ServerName,
    fetched: Vec<Fetched>,
) -> Result<Arc<BTreeMap<String, ServerKey>>, RemoteKeysError> {
    let add = |entry: Option<Entry<OwnedServerName, Result<Known, Arc<DbError>>>>| async move {
        let previous = entry.and_then(|entry| entry.into_value().ok());
        let mut known = known_before(engine, server, previous).await?;
        fetched.iter().for_each(|fetched| known.hear_of(fetched));
        keep(engine, server, &known, fetched).await;
        Ok(known)
    };
    let entry = engine.remote_keys.cache.entry_by_ref(server).and_upsert_with(add).await;
    entry.into_value().map(|known| known.keys).map_err(RemoteKeysError::Internal)
}

async fn known_before(
    engine: &Engine,
    server: &ServerName,
    previous: Option<Known>,
) -> Result<Known, Arc<DbError>> {
    match previous {
        Some(known) => Ok(known),
        None => stored(engine, server).await.map_err(Arc::new),
    }
}

/// Stores what was learnt. It is good for now even if it cannot be stored.
async fn keep(engine: &Engine, server: &ServerName, known: &Known, fetched: Vec<Fetched>) {
    if let Err(error) = store(engine, server, known, fetched).await {
        tracing::warn!(%error, server.name = %server, "Cannot store a server's keys");
    }
}

fn after_attempt(
    mut known: Known,
    attempt: &Result<Fetched, String>,
    Wanted { server, key_ids, valid_at_ms }: &Wanted,
    now_ms: i64,
) -> Known {
    match attempt {
        Ok(fetched) => {
            known.hear(fetched);
            let has_it = known.suffices(key_ids, *valid_at_ms);
            let pause = if has_it { SHORT_PAUSE_MS } else { FIRST_PAUSE_MS };
            Known { pause_until_ms: now_ms.saturating_add(pause), failures: 0, ..known }
        }
        Err(reason) => {
            tracing::info!(server.name = %server, reason, "Cannot fetch a server's keys");
            let pause = FIRST_PAUSE_MS.saturating_mul(1 << known.failures.min(16));
            let pause_until_ms = now_ms.saturating_add(pause.min(MAX_PAUSE_MS));
            Known { pause_until_ms, failures: known.failures.saturating_add(1), ..known }
        }
    }
}

async fn stored(engine: &Engine, server: &ServerName) -> Result<Known, DbError> {
    let rows = federation::remote_keys(&mut engine.storage.read().await?, server.as_str()).await?;
    let keys = rows.into_iter().filter_map(|row| {
        let public_key = public_key(&row.key_id, &row.public_key)?;
        let valid_until_ts = timestamp(row.valid_until_ts);
        Some((row.key_id, ServerKey { public_key, valid_until_ts }))
    });
    Ok(Known { keys: Arc::new(keys.collect()), ..Known::default() })
}

/// Stores the keys that documents listed, as they are known now, and the documents.
async fn store(
    engine: &Engine,
    server: &ServerName,
    known: &Known,
    fetched: Vec<Fetched>,
) -> Result<(), starling_storage::CommitError> {
    let fetched_ts = engine.clock.now_ms();
    let mut change = Change::new();
    for Fetched { keys, document } in fetched {
        for key_id in keys.into_keys() {
            let Some(key) = known.keys.get(&key_id) else { continue };
            change.write(federation::Write::RemoteKey(RemoteKeyRow {
                server: server.to_string(),
                key_id: key_id.clone(),
                public_key: STANDARD_NO_PAD.encode(&key.public_key),
                valid_until_ts: key.valid_until_ts.get().into(),
                fetched_ts,
            }));
            change.write(federation::Write::RemoteKeyDocument {
                server: server.to_string(),
                key_id,
                document: document.clone(),
            });
        }
    }
    if !change.is_empty() {
        engine.storage.commit(change).await?;
    }
    Ok(())
}

fn timestamp(ms: i64) -> MilliSecondsSinceUnixEpoch {
    MilliSecondsSinceUnixEpoch(UInt::new_saturating(u64::try_from(ms).unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use ruma::{CanonicalJsonObject, room_id, server_name, user_id};
    use serde_json::json;

    use super::*;
    use crate::{
        clock::Clock as _,
        events::{
            sign::{Expectation, Role, sign_event},
            verify::verify,
        },
        keys::testing::{self, Servers, encoded, pair, setup},
        testing::{START_MS as NOW, TestEngine},
    };

    const MINUTE: i64 = 60_000;
    const DAY: i64 = 24 * 60 * MINUTE;

    fn document(seeds: &[u8], valid_until_ms: i64) -> String {
        testing::document("a.example", seeds, valid_until_ms)
    }

    async fn start() -> (TestEngine, Arc<Servers>) {
        setup(async |_| ()).await
    }

    /// Until when the key is valid, if it is known after a look-up of it.
    async fn until(engine: &Engine, key_id: &str, valid_at_ms: i64) -> Option<i64> {
        let wanted = [key_id.to_owned()];
        let keys = server_keys(engine, server_name!("a.example"), &wanted, valid_at_ms).await;
        keys.unwrap().get(key_id).map(|key| key.valid_until_ts.get().into())
    }

    #[tokio::test]
    async fn a_server_is_asked_once_by_all_who_need_its_key_and_not_again_after_a_restart() {
        let (setup, servers) = start().await;
        servers.publish("a.example", document(&[1], NOW + DAY));
        let all = (0..5).map(|_| until(&setup.engine, "ed25519:1", NOW));
        for found in futures_util::future::join_all(all).await {
            assert_eq!(found, Some(NOW + DAY));
        }
        let restarted = setup.restarted().await.unwrap();
        assert_eq!(until(&restarted.engine, "ed25519:1", NOW).await, Some(NOW + DAY));
        assert_eq!(servers.asked(), 1);
    }

    #[tokio::test]
    async fn an_expired_key_is_fetched_anew_unless_the_time_in_question_is_earlier() {
        let (setup, servers) = start().await;
        servers.publish("a.example", document(&[1], NOW + MINUTE));
        until(&setup.engine, "ed25519:1", NOW).await;
        setup.clock.advance(DAY);
        servers.publish("a.example", document(&[1], NOW + 2 * DAY));
        assert_eq!(until(&setup.engine, "ed25519:1", NOW).await, Some(NOW + MINUTE));
        assert_eq!(servers.asked(), 1);
        assert_eq!(until(&setup.engine, "ed25519:1", NOW + DAY).await, Some(NOW + 2 * DAY));
        assert_eq!(servers.asked(), 2);
        // What lies in the future cannot be promised by anyone.
        assert_eq!(until(&setup.engine, "ed25519:1", NOW + 9 * DAY).await, Some(NOW + 2 * DAY));
        assert_eq!(servers.asked(), 2);
    }

    #[tokio::test]
    async fn a_new_key_is_found_and_one_that_is_no_longer_listed_stays_known() {
        let (setup, servers) = start().await;
        servers.publish("a.example", document(&[1], NOW + DAY));
        until(&setup.engine, "ed25519:1", NOW).await;
        servers.publish("a.example", document(&[2], NOW + DAY));
        setup.clock.advance(MINUTE);
        assert_eq!(until(&setup.engine, "ed25519:2", NOW).await, Some(NOW + DAY));
        assert_eq!(until(&setup.engine, "ed25519:1", NOW).await, Some(NOW + DAY));
    }

    #[tokio::test]
    async fn unknown_keys_do_not_make_us_ask_without_a_pause() {
        let (setup, servers) = start().await;
        servers.publish("a.example", document(&[1], NOW + DAY));
        for version in 0..50 {
            assert_eq!(until(&setup.engine, &format!("ed25519:x{version}"), NOW).await, None);
        }
        assert_eq!(servers.asked(), 1);
        setup.clock.advance(FIRST_PAUSE_MS);
        until(&setup.engine, "ed25519:y", NOW).await;
        assert_eq!(servers.asked(), 2);
    }

    #[tokio::test]
    async fn who_has_a_new_key_at_once_is_asked_again_at_once() {
        let (setup, servers) = start().await;
        servers.publish("a.example", document(&[1], NOW + DAY));
        until(&setup.engine, "ed25519:1", NOW).await;
        servers.publish("a.example", document(&[2], NOW + DAY));
        setup.clock.advance(SHORT_PAUSE_MS);
        assert_eq!(until(&setup.engine, "ed25519:2", NOW).await, Some(NOW + DAY));
        servers.publish("a.example", document(&[3], NOW + DAY));
        assert_eq!(until(&setup.engine, "ed25519:3", NOW).await, None, "and no faster");
        assert_eq!(servers.asked(), 2);
    }

    #[tokio::test]
    async fn pauses_grow_while_a_server_does_not_answer_and_its_known_keys_stay() {
        let (setup, servers) = start().await;
        servers.publish("a.example", document(&[1], NOW + MINUTE));
        until(&setup.engine, "ed25519:1", NOW).await;
        servers.vanish("a.example");
        setup.clock.advance(DAY);
        let mut pauses = Vec::new();
        for _ in 0..9 {
            let (asked, start) = (servers.asked(), setup.clock.now_ms());
            while servers.asked() == asked {
                setup.clock.advance(FIRST_PAUSE_MS);
                let now = setup.clock.now_ms();
                assert_eq!(until(&setup.engine, "ed25519:1", now).await, Some(NOW + MINUTE));
            }
            pauses.push((setup.clock.now_ms() - start) / FIRST_PAUSE_MS);
        }
        assert_eq!(pauses, [1, 1, 2, 4, 8, 16, 32, 60, 60]);
    }

    #[tokio::test]
    async fn a_document_that_is_not_believed_gives_no_keys() {
        let (setup, servers) = start().await;
        let forged = document(&[1], NOW + DAY).replace(&encoded(1), &encoded(2));
        servers.publish("a.example", forged);
        assert_eq!(until(&setup.engine, "ed25519:1", NOW).await, None);
    }

    #[tokio::test]
    async fn our_own_keys_are_not_fetched() {
        let (setup, servers) = start().await;
        let own = key_id(setup.engine.signing_keys.current());
        let server = setup.engine.config.server_name.clone();
        let keys =
            server_keys(&setup.engine, &server, std::slice::from_ref(&own), NOW).await.unwrap();
        assert_eq!(keys[&own].public_key, setup.engine.signing_keys.current().public_key());
        assert_eq!(servers.asked(), 0);
    }

    #[tokio::test]
    async fn the_keys_for_an_event_verify_it() {
        let (setup, servers) = start().await;
        servers.publish("a.example", document(&[1, 2], NOW + DAY));
        let rules = RoomVersionRules::V11;
        let event: CanonicalJsonObject = serde_json::from_value(json!({
            "type": "m.room.message", "room_id": "!r:a.example", "sender": "@u:a.example",
            "content": {}, "depth": 1, "prev_events": [], "auth_events": [],
            "origin_server_ts": NOW,
        }))
        .unwrap();
        let expected = Expectation {
            role: Role::Author,
            origin: server_name!("a.example"),
            kind: "m.room.message",
            room_id: Some(room_id!("!r:a.example")),
            sender: user_id!("@u:a.example"),
            state_key: None,
            membership: None,
        };
        let pdu = sign_event(&expected, event, &pair(1, "1"), &rules).unwrap();
        let keys = keys_for_event(&setup.engine, &pdu, &rules).await.unwrap();
        assert_eq!(verify(&pdu, &keys, &rules), Ok(()));
        assert_eq!(keys[server_name!("a.example")].len(), 1);
    }
}
