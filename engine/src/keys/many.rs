//! The keys of many servers at once, as a large room needs them.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use futures_util::{StreamExt as _, stream};
use ruma::OwnedServerName;
use tokio::time::{Instant, timeout_at};

use super::remote::{RemoteKeysError, server_keys};
use crate::{
    Engine,
    events::verify::{ServerKey, ServerKeys},
};

/// How many servers are asked at the same time.
const AT_A_TIME: usize = 128;

/// How long all of them together may take. Some of thousands are always away, and nobody waits for
/// them: what they signed is not taken.
const PATIENCE: Duration = Duration::from_secs(60);

/// Keys that are wanted of a server.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// The server.
    pub server: OwnedServerName,
    /// One of these keys ...
    pub key_ids: Vec<String>,
    /// ... is to be valid at this time, in milliseconds since the epoch.
    pub valid_at_ms: i64,
}

/// Keys of many servers.
#[derive(Clone, Debug, Default)]
pub struct KeyRing(HashMap<OwnedServerName, Arc<BTreeMap<String, ServerKey>>>);

impl KeyRing {
    /// Those of some keys that are known.
    #[must_use]
    pub fn of(&self, signers: BTreeMap<OwnedServerName, Vec<String>>) -> ServerKeys {
        let known = signers.into_iter().filter_map(|(server, key_ids)| {
            let keys = self.0.get(&server)?;
            let key = |id: String| Some((id.clone(), keys.get(&id)?.clone()));
            let keys = key_ids.into_iter().filter_map(key).collect();
            Some((server, keys))
        });
        known.collect()
    }
}

/// The keys of many servers, as far as they can be had in a minute.
///
/// # Errors
///
/// When our own database fails.
pub async fn fetch(engine: &Engine, wanted: Vec<Wanted>) -> Result<KeyRing, RemoteKeysError> {
    let until = Instant::now() + PATIENCE;
    let fetches = wanted.into_iter().map(|wanted| async move {
        let Wanted { server, key_ids, valid_at_ms } = wanted;
        let keys = server_keys(engine, &server, &key_ids, valid_at_ms).await;
        (server, keys)
    });
    let mut fetches = stream::iter(fetches).buffer_unordered(AT_A_TIME);
    let mut ring = KeyRing::default();
    while let Ok(Some((server, keys))) = timeout_at(until, fetches.next()).await {
        let keys = keys?;
        let known = ring.0.entry(server).or_default();
        // What is asked later knows all that was known before.
        if keys.len() >= known.len() {
            *known = keys;
        }
    }
    Ok(ring)
}
