//! The keys of many servers at once, as a large room needs them.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use futures_util::{StreamExt as _, stream};
use ruma::OwnedServerName;
use tokio::time::{Instant, timeout, timeout_at};

use super::{
    fetch::{Fetched, from_notaries},
    remote::{RemoteKeysError, hear_of, own_word, suffices},
};
use crate::{
    Engine,
    events::verify::{ServerKey, ServerKeys},
};

/// How many servers are asked at the same time.
const AT_A_TIME: usize = 96;

/// How long asking them may take. Some of thousands are always away, and nobody waits for them: what
/// they signed is not taken.
const PATIENCE: Duration = Duration::from_secs(60);

/// The same where there are notaries to be asked for those that have not answered yet.
const PATIENCE_BEFORE_NOTARIES: Duration = Duration::from_secs(30);

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

/// The keys of many servers, as far as they can be had in a minute or so: by asking each server, and
/// then the trusted notaries for all together that did not answer.
///
/// # Errors
///
/// When our own database fails.
pub async fn fetch(engine: &Engine, wanted: Vec<Wanted>) -> Result<KeyRing, RemoteKeysError> {
    let has_notaries = !engine.config.trusted_notaries.is_empty();
    let patience = if has_notaries { PATIENCE_BEFORE_NOTARIES } else { PATIENCE };
    let mut ring = KeyRing::default();
    ring.ask_servers(engine, wanted.clone(), Instant::now() + patience).await?;
    if has_notaries {
        let now_ms = engine.clock.now_ms();
        let lacking = wanted.into_iter().filter(|wanted| !ring.suffices(wanted, now_ms));
        ring.ask_notaries(engine, lacking.collect()).await?;
    }
    Ok(ring)
}

impl KeyRing {
    async fn ask_servers(
        &mut self,
        engine: &Engine,
        wanted: Vec<Wanted>,
        until: Instant,
    ) -> Result<(), RemoteKeysError> {
        let fetches = wanted.into_iter().map(|wanted| async move {
            let keys = own_word(engine, &wanted).await;
            (wanted.server, keys)
        });
        let mut fetches = stream::iter(fetches).buffer_unordered(AT_A_TIME);
        while let Ok(Some((server, keys))) = timeout_at(until, fetches.next()).await {
            self.take(&server, keys?);
        }
        Ok(())
    }

    async fn ask_notaries(
        &mut self,
        engine: &Engine,
        lacking: Vec<Wanted>,
    ) -> Result<(), RemoteKeysError> {
        let mut of_each: BTreeMap<OwnedServerName, Vec<Fetched>> = BTreeMap::new();
        let Ok(told) = timeout(PATIENCE, from_notaries(engine, lacking)).await else {
            return Ok(());
        };
        for (server, fetched) in told {
            of_each.entry(server).or_default().push(fetched);
        }
        for (server, fetched) in of_each {
            let keys = hear_of(engine, &server, fetched).await?;
            self.take(&server, keys);
        }
        Ok(())
    }

    fn take(&mut self, server: &OwnedServerName, keys: Arc<BTreeMap<String, ServerKey>>) {
        let known = self.0.entry(server.clone()).or_default();
        // What is asked later knows all that was known before.
        if keys.len() >= known.len() {
            *known = keys;
        }
    }

    fn suffices(&self, wanted: &Wanted, now_ms: i64) -> bool {
        let Wanted { server, key_ids, valid_at_ms } = wanted;
        // No server promises anything for the future.
        let valid_at_ms = (*valid_at_ms).min(now_ms);
        self.0.get(server).is_some_and(|keys| suffices(keys, key_ids, valid_at_ms))
    }
}

#[cfg(test)]
mod tests {
    use ruma::server_name;

    use super::*;
    use crate::{
        keys::testing::{document, setup_trusting, signed},
        testing::START_MS as NOW,
    };

    const DAY: i64 = 24 * 60 * 60 * 1000;

    fn wanted(server: &str) -> Wanted {
        let server = OwnedServerName::try_from(server).unwrap();
        Wanted { server, key_ids: vec!["ed25519:1".to_owned()], valid_at_ms: NOW }
    }

    fn has(ring: &KeyRing, server: &str) -> bool {
        ring.suffices(&wanted(server), NOW)
    }

    #[tokio::test]
    async fn a_notary_is_asked_once_for_all_that_do_not_answer() {
        let (setup, servers) = setup_trusting(&[server_name!("n.example")], async |_| ()).await;
        servers.publish("n.example", document("n.example", &[9], NOW + DAY));
        servers.publish("there.example", document("there.example", &[1], NOW + DAY));
        let known = |server: &str| signed(&document(server, &[1], NOW + DAY), "n.example", 9);
        let all = ["a.example", "b.example", "not-asked-for.example", "there.example"];
        servers.vouch("n.example", all.iter().map(|server| known(server)).collect());
        let asked = ["there.example", "a.example", "b.example", "gone.example"];
        let ring = fetch(&setup.engine, asked.map(wanted).to_vec()).await.unwrap();
        assert!(has(&ring, "there.example") && has(&ring, "a.example") && has(&ring, "b.example"));
        assert!(!has(&ring, "gone.example") && !has(&ring, "not-asked-for.example"));
        // Four servers, the notary's keys, and the notary.
        assert_eq!(servers.asked(), 6);
        // What it said is known from now on.
        let again = fetch(&setup.engine, vec![wanted("a.example")]).await.unwrap();
        assert!(has(&again, "a.example"));
        let restarted = setup.restarted().await.unwrap();
        let again = fetch(&restarted.engine, vec![wanted("b.example")]).await.unwrap();
        assert!(has(&again, "b.example"));
        assert_eq!(servers.asked(), 6);
    }

    #[tokio::test]
    async fn very_many_servers_are_asked_for_a_hundred_at_a_time() {
        let (setup, servers) = setup_trusting(&[server_name!("n.example")], async |_| ()).await;
        servers.vouch("n.example", vec![]);
        let all: Vec<_> = (0..250).map(|number| wanted(&format!("s{number}.example"))).collect();
        let ring = fetch(&setup.engine, all).await.unwrap();
        assert!(!has(&ring, "s0.example"));
        assert_eq!(servers.asked(), 250 + 3);
    }

    #[tokio::test]
    async fn without_notaries_only_the_servers_are_asked() {
        let (setup, servers) = setup_trusting(&[], async |_| ()).await;
        servers.publish("a.example", document("a.example", &[1], NOW + DAY));
        let all = ["a.example", "gone.example"].map(wanted).to_vec();
        let ring = fetch(&setup.engine, all).await.unwrap();
        assert!(has(&ring, "a.example") && !has(&ring, "gone.example"));
        assert_eq!(servers.asked(), 2);
    }
}
