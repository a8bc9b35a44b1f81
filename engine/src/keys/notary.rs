//! Vouching for other servers' keys: their documents, signed by this server too.
//!
//! Anybody may ask, so a server is asked for its keys on behalf of strangers only if it is known
//! already, and as seldom as for ourselves.
//!
//! <https://spec.matrix.org/v1.19/server-server-api/#querying-keys-through-another-server>

use std::collections::{BTreeMap, BTreeSet};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use ruma::{CanonicalJsonObject, OwnedServerName, ServerName, signatures::sign_json};
use starling_storage::federation;

use super::{
    publish::key_document,
    remote::{RemoteKeysError, server_keys},
};
use crate::{Engine, events::canonical::parse_strict, internal::Internal};

/// How many servers one request may ask about.
pub const MAX_SERVERS: usize = 100;
/// How many keys of one server are looked for.
const MAX_KEYS: usize = 16;
/// How many servers are looked at at a time for one request.
const AT_A_TIME: usize = 4;
/// What a document may hold to be signed. Whatever else the server wrote there could be meant to be
/// read as something else than a key document.
const FIELDS: [&str; 6] = [
    "old_verify_keys",
    "server_name",
    "signatures",
    "tls_fingerprints",
    "valid_until_ts",
    "verify_keys",
];

/// The keys that are wanted of a server: until when each has to be valid, in milliseconds. None: all
/// that are known.
pub type Wanted = BTreeMap<String, i64>;

/// The documents that hold the wanted keys. Servers that are not known, or neither answer nor ever
/// did, are left out. No more than [`MAX_SERVERS`] are looked at.
///
/// # Errors
///
/// When this server fails.
pub async fn documents(
    engine: &Engine,
    wanted: BTreeMap<OwnedServerName, Wanted>,
) -> Result<Vec<CanonicalJsonObject>, Internal> {
    let of_each: Vec<_> = stream::iter(wanted.into_iter().take(MAX_SERVERS))
        .map(|(server, keys)| async move { of_server(engine, &server, keys).await })
        .buffered(AT_A_TIME)
        .try_collect()
        .await?;
    Ok(of_each.into_iter().flatten().collect())
}

async fn of_server(
    engine: &Engine,
    server: &ServerName,
    wanted: Wanted,
) -> Result<Vec<CanonicalJsonObject>, Internal> {
    if server == engine.config.server_name {
        let own = key_document(engine);
        return Ok(vec![own.map_err(|error| Internal::Damaged(error.to_string()))?]);
    }
    if !federation::is_known(&mut engine.storage.read().await?, server.as_str()).await? {
        return Ok(Vec::new());
    }
    refresh(engine, server, &wanted).await?;
    let mut conn = engine.storage.read().await?;
    let stored = federation::remote_key_documents(&mut conn, server.as_str()).await?;
    let holding: BTreeSet<String> = stored
        .into_iter()
        .filter(|(key_id, _)| wanted.is_empty() || wanted.contains_key(key_id))
        .map(|(_, document)| document)
        .collect();
    Ok(holding.iter().filter_map(|document| countersigned(engine, document)).collect())
}

/// Looks for what is not known or not valid for long enough.
async fn refresh(engine: &Engine, server: &ServerName, wanted: &Wanted) -> Result<(), Internal> {
    let internal = |error: RemoteKeysError| Internal::Damaged(error.to_string());
    if wanted.is_empty() {
        let known = server_keys(engine, server, &[], 0).await.map_err(internal)?;
        let ids: Vec<String> = known.keys().cloned().collect();
        let now_ms = engine.clock.now_ms();
        server_keys(engine, server, &ids, now_ms).await.map_err(internal)?;
    }
    for (key_id, valid_until_ms) in wanted.iter().take(MAX_KEYS) {
        let ids = std::slice::from_ref(key_id);
        server_keys(engine, server, ids, *valid_until_ms).await.map_err(internal)?;
    }
    Ok(())
}

/// The document with our signature; `None` for one that we do not vouch for.
fn countersigned(engine: &Engine, document: &str) -> Option<CanonicalJsonObject> {
    let mut document = parse_strict(document).ok()?;
    if document.keys().any(|field| !FIELDS.contains(&field.as_str())) {
        return None;
    }
    let server_name = engine.config.server_name.as_str();
    sign_json(server_name, engine.signing_keys.current(), &mut document).ok()?;
    Some(document)
}

#[cfg(test)]
mod tests {
    use ruma::{CanonicalJsonValue, server_name};

    use super::*;
    use crate::{
        keys::{
            document::{check_notary, read_keys},
            testing::{document, setup, signed},
        },
        testing::{START_MS as NOW, TestEngine},
    };

    const MINUTE: i64 = 60_000;
    const DAY: i64 = 24 * 60 * MINUTE;

    async fn ask(setup: &TestEngine, key_ids: &[&str]) -> Vec<CanonicalJsonObject> {
        let keys = key_ids.iter().map(|&id| (id.to_owned(), NOW)).collect();
        let wanted = BTreeMap::from([(server_name!("a.example").to_owned(), keys)]);
        documents(&setup.engine, wanted).await.unwrap()
    }

    /// Has the server's keys looked up for ourselves.
    async fn meet(setup: &TestEngine, key_id: &str) {
        let ids = [key_id.to_owned()];
        server_keys(&setup.engine, server_name!("a.example"), &ids, NOW).await.unwrap();
    }

    #[tokio::test]
    async fn a_server_that_went_away_is_vouched_for_with_both_signatures() {
        let (setup, servers) = setup(async |_| ()).await;
        servers.publish("a.example", document("a.example", &[1], NOW + DAY));
        meet(&setup, "ed25519:1").await;
        servers.vanish("a.example");
        for key_ids in [&["ed25519:1"][..], &[]] {
            let [found] = &ask(&setup, key_ids).await[..] else { panic!("not one document") };
            let json = serde_json::to_string(found).unwrap();
            read_keys(&json, server_name!("a.example"), NOW).unwrap();
            let us = setup.engine.config.server_name.clone();
            let own = key_document(&setup.engine).unwrap();
            let own = read_keys(&serde_json::to_string(&own).unwrap(), &us, NOW).unwrap();
            check_notary(&json, &us, &own, NOW).unwrap();
        }
        assert!(ask(&setup, &["ed25519:2"]).await.is_empty());
    }

    #[tokio::test]
    async fn keys_of_earlier_documents_are_found_and_new_ones_are_fetched() {
        let (setup, servers) = setup(async |_| ()).await;
        servers.publish("a.example", document("a.example", &[1], NOW + DAY));
        meet(&setup, "ed25519:1").await;
        servers.publish("a.example", document("a.example", &[2], NOW + DAY));
        setup.clock.advance(MINUTE);
        assert_eq!(ask(&setup, &["ed25519:2"]).await.len(), 1);
        assert_eq!(ask(&setup, &["ed25519:1", "ed25519:2"]).await.len(), 2);
    }

    #[tokio::test]
    async fn nobody_is_asked_on_behalf_of_strangers_who_is_not_known() {
        let (setup, servers) = setup(async |_| ()).await;
        servers.publish("a.example", document("a.example", &[1], NOW + DAY));
        assert!(ask(&setup, &["ed25519:1"]).await.is_empty());
        assert!(ask(&setup, &[]).await.is_empty());
        assert_eq!(servers.asked(), 0);
    }

    #[tokio::test]
    async fn a_document_that_could_be_something_else_is_not_signed() {
        let (setup, servers) = setup(async |_| ()).await;
        let mut more: CanonicalJsonObject =
            serde_json::from_str(&document("a.example", &[1], NOW + DAY)).unwrap();
        more.remove("signatures");
        more.insert("method".to_owned(), CanonicalJsonValue::from("PUT"));
        let more = signed(&serde_json::to_string(&more).unwrap(), "a.example", 1);
        servers.publish("a.example", more);
        meet(&setup, "ed25519:1").await;
        assert!(ask(&setup, &["ed25519:1"]).await.is_empty());
    }

    #[tokio::test]
    async fn our_own_document_is_signed_once() {
        let (setup, _) = setup(async |_| ()).await;
        let us = setup.engine.config.server_name.clone();
        let wanted = BTreeMap::from([(us.clone(), Wanted::new())]);
        let [own] = &documents(&setup.engine, wanted).await.unwrap()[..] else { panic!("no own") };
        let json = serde_json::to_string(own).unwrap();
        assert_eq!(read_keys(&json, &us, NOW).unwrap().len(), 1);
    }
}
