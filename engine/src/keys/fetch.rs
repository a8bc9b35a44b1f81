//! Asking for the documents in which servers publish their keys: the servers themselves, and the
//! notaries that the administrator trusts.

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http::{Request, StatusCode};
use ruma::{OwnedServerName, ServerName};
use serde::Deserialize;
use serde_json::{Value, json, value::RawValue};

use super::{
    document::{check_notary, read_keys, signing_key_ids},
    many::Wanted,
    remote::server_keys,
};
use crate::{Engine, events::verify::ServerKey, remote::Limits};

/// What one request for keys may cost.
const LIMITS: Limits = Limits { timeout: Duration::from_secs(15), max_body: 64 * 1024 };
/// What one request to a notary may cost, which may have to ask the servers first.
const NOTARY_LIMITS: Limits =
    Limits { timeout: Duration::from_secs(30), max_body: 2 * 1024 * 1024 };
/// About how many servers one request to a notary asks.
const SERVERS_AT_ONCE: usize = 100;
/// How many requests a notary gets at the same time.
const QUESTIONS_AT_ONCE: usize = 4;
/// How many documents of a server are looked at that a notary gives.
const MAX_DOCUMENTS: usize = 16;

/// A document that is believed.
#[derive(Debug)]
pub(super) struct Fetched {
    /// The keys that it gives.
    pub(super) keys: BTreeMap<String, ServerKey>,
    /// Its text.
    pub(super) document: String,
}

/// The document that a server publishes now.
pub(super) async fn direct(engine: &Engine, server: &ServerName) -> Result<Fetched, String> {
    let request = Request::get("/_matrix/key/v2/server").body(Bytes::new());
    let body = ask(engine, server, request, LIMITS).await?;
    let document = std::str::from_utf8(&body).map_err(|error| error.to_string())?;
    let keys = read_keys(document, server, engine.clock.now_ms());
    let keys = keys.map_err(|error| error.to_string())?;
    Ok(Fetched { keys, document: document.to_owned() })
}

/// What the first notary that knows something has of each of some servers. Nothing for the notaries
/// themselves: two that vouch for each other would wait for each other.
pub(super) async fn from_notaries(
    engine: &Engine,
    mut wanted: Vec<Wanted>,
) -> Vec<(OwnedServerName, Fetched)> {
    let notaries = &engine.config.trusted_notaries;
    wanted.retain(|it| !notaries.contains(&it.server));
    let mut found = Vec::new();
    for notary in notaries {
        let parts: Vec<Vec<Wanted>> = wanted.chunks(SERVERS_AT_ONCE).map(<[_]>::to_vec).collect();
        let questions =
            parts.into_iter().map(|some| async move { from_notary(engine, notary, &some).await });
        let mut answers = stream::iter(questions).buffer_unordered(QUESTIONS_AT_ONCE);
        while let Some(answer) = answers.next().await {
            match answer {
                Ok(some) => {
                    engine.measures.keys.notarised.count();
                    found.extend(some);
                }
                Err(reason) => {
                    engine.measures.keys.not_notarised.count();
                    tracing::info!(%notary, reason, "A notary did not help");
                }
            }
        }
        wanted.retain(|it| found.iter().all(|(server, _)| *server != it.server));
    }
    found
}

#[derive(Deserialize)]
struct Answer {
    server_keys: Vec<Box<RawValue>>,
}

#[derive(Deserialize)]
struct Named {
    server_name: OwnedServerName,
}

async fn from_notary(
    engine: &Engine,
    notary: &OwnedServerName,
    wanted: &[Wanted],
) -> Result<Vec<(OwnedServerName, Fetched)>, String> {
    let request = Request::post("/_matrix/key/v2/query").body(question(wanted).into());
    let body = ask(engine, notary, request, NOTARY_LIMITS).await?;
    let answer: Answer = serde_json::from_slice(&body).map_err(|error| error.to_string())?;
    let mut found = Vec::new();
    let most = wanted.len().saturating_mul(MAX_DOCUMENTS);
    for document in answer.server_keys.iter().take(most).map(|raw| raw.get()) {
        let Ok(Named { server_name }) = serde_json::from_str(document) else { continue };
        // Of whom nobody asked, nothing is heard.
        if wanted.iter().all(|it| it.server != server_name) {
            continue;
        }
        match notarised(engine, notary, &server_name, document).await {
            Ok(fetched) => found.push((server_name, fetched)),
            Err(reason) => {
                tracing::info!(server.name = %server_name, %notary, reason, "A notary's document");
            }
        }
    }
    Ok(found)
}

fn question(wanted: &[Wanted]) -> String {
    let mut of_each: BTreeMap<&str, BTreeMap<&str, Value>> = BTreeMap::new();
    for Wanted { server, key_ids, valid_at_ms } in wanted {
        let criteria = json!({ "minimum_valid_until_ts": valid_at_ms });
        let keys = key_ids.iter().map(|id| (id.as_str(), criteria.clone()));
        of_each.entry(server.as_str()).or_default().extend(keys);
    }
    json!({ "server_keys": of_each }).to_string()
}

/// A document that its server and the notary signed.
async fn notarised(
    engine: &Engine,
    notary: &ServerName,
    server: &ServerName,
    document: &str,
) -> Result<Fetched, String> {
    let now_ms = engine.clock.now_ms();
    let keys = read_keys(document, server, now_ms).map_err(|error| error.to_string())?;
    let key_ids = signing_key_ids(document, notary).map_err(|error| error.to_string())?;
    let notary_keys = Box::pin(server_keys(engine, notary, &key_ids, now_ms)).await;
    let notary_keys = notary_keys.map_err(|error| error.to_string())?;
    check_notary(document, notary, &notary_keys, now_ms).map_err(|error| error.to_string())?;
    Ok(Fetched { keys, document: document.to_owned() })
}

async fn ask(
    engine: &Engine,
    server: &ServerName,
    request: http::Result<Request<Bytes>>,
    limits: Limits,
) -> Result<Bytes, String> {
    let request = request.map_err(|error| error.to_string())?;
    let response = engine.transport.send(server, request, limits).await;
    let response = response.map_err(|error| error.to_string())?;
    match response.status() {
        StatusCode::OK => Ok(response.into_body()),
        status => Err(format!("status {status}")),
    }
}

#[cfg(test)]
mod tests {
    use ruma::server_name;

    use super::*;
    use crate::{
        keys::testing::{document, setup_trusting, signed},
        testing::{START_MS as NOW, TestEngine},
    };

    const DAY: i64 = 24 * 60 * 60 * 1000;

    /// Until when the key of seed 1 of `a.example` is known to be valid.
    async fn until(setup: &TestEngine) -> Option<i64> {
        let wanted = ["ed25519:1".to_owned()];
        let keys = server_keys(&setup.engine, server_name!("a.example"), &wanted, NOW).await;
        keys.unwrap().get("ed25519:1").map(|key| key.valid_until_ts.get().into())
    }

    #[tokio::test]
    async fn a_trusted_notary_knows_the_keys_of_a_server_that_is_away() {
        let notaries = [server_name!("gone.example"), server_name!("n.example")];
        let (setup, servers) = setup_trusting(&notaries, async |_| ()).await;
        servers.publish("n.example", document("n.example", &[9], NOW + DAY));
        let known = document("a.example", &[1], NOW + DAY);
        servers.vouch("n.example", vec![signed(&known, "n.example", 9)]);
        assert_eq!(until(&setup).await, Some(NOW + DAY));
    }

    #[tokio::test]
    async fn a_server_that_answers_is_believed_before_a_notary() {
        let (setup, servers) = setup_trusting(&[server_name!("n.example")], async |_| ()).await;
        servers.publish("a.example", document("a.example", &[1], NOW + DAY));
        assert_eq!(until(&setup).await, Some(NOW + DAY));
        assert_eq!(servers.asked(), 1);
    }

    #[tokio::test]
    async fn a_document_that_the_notary_or_its_server_did_not_sign_is_not_believed() {
        let other = signed(&document("b.example", &[1], NOW + DAY), "n.example", 9);
        let unsigned = document("a.example", &[1], NOW + DAY);
        let by_another_key = signed(&unsigned, "n.example", 8);
        let changed =
            signed(&unsigned, "n.example", 9).replace("\"ed25519:1\":{", "\"ed25519:2\":{");
        for forged in [other, unsigned, by_another_key, changed] {
            let (setup, servers) = setup_trusting(&[server_name!("n.example")], async |_| ()).await;
            servers.publish("n.example", document("n.example", &[9], NOW + DAY));
            servers.vouch("n.example", vec![forged]);
            assert_eq!(until(&setup).await, None);
        }
    }

    #[tokio::test]
    async fn notaries_that_are_all_away_do_not_wait_for_each_other() {
        let notaries = [server_name!("a.example"), server_name!("n.example")];
        let (setup, _) = setup_trusting(&notaries, async |_| ()).await;
        assert_eq!(until(&setup).await, None);
    }
}
