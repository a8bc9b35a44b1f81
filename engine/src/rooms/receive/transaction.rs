//! One transaction of another server: worked on once, answered as often as it is sent.
//!
//! <https://spec.matrix.org/v1.19/server-server-api/#transactions>

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures_util::{StreamExt as _, stream};
use moka::sync::Cache;
use ruma::{OwnedRoomId, OwnedServerName, ServerName};
use serde_json::value::RawValue;
use starling_storage::{Change, federation};
use tokio::{sync::Mutex, time::Instant};
use tracing::Instrument as _;

use super::{Results, ephemeral, room};
use crate::{Engine, events::format::room_id_of, internal::Internal, measures::Received};

/// How many events a transaction has at most (by the specification).
pub const MAX_PDUS: usize = 50;
/// How many ephemeral messages a transaction has at most (by the specification).
pub const MAX_EDUS: usize = 100;
/// How many rooms of a transaction are worked on at a time.
const ROOMS_AT_A_TIME: usize = 8;
/// For how long a transaction is answered with what was answered first, in milliseconds. One that comes later still is
/// worked on again, which changes nothing: its events are known.
const KEEP_MS: i64 = 7 * 24 * 60 * 60 * 1000;
/// How often old transactions are forgotten.
const FORGET_EVERY: Duration = Duration::from_secs(60 * 60);
/// How many transactions are kept apart.
const MAX_IN_WORK: u64 = 10_000;

/// What a server sent.
#[derive(Clone, Debug)]
pub struct Transaction {
    /// Its ID for it.
    pub txn_id: String,
    /// The events.
    pub pdus: Vec<Box<RawValue>>,
    /// The ephemeral messages.
    pub edus: Vec<Box<RawValue>>,
}

/// Why a transaction is not worked on.
#[derive(Debug, thiserror::Error)]
pub enum TransactionError {
    /// It has more in it than it may.
    #[error("a transaction has at most {MAX_PDUS} PDUs and {MAX_EDUS} EDUs")]
    TooMany,
    /// This server failed; the other will send it again.
    #[error(transparent)]
    Internal(#[from] Internal),
}

/// The transactions in work: a second copy of one waits for the first.
#[derive(Clone, Debug)]
pub struct InWork(Cache<(OwnedServerName, String), Arc<Mutex<()>>>);

impl Default for InWork {
    fn default() -> Self {
        Self(Cache::builder().max_capacity(MAX_IN_WORK).build())
    }
}

/// Receives a transaction and says what became of its events. When this returns `Ok`, they are on
/// disk. It goes on when the caller goes away.
///
/// # Errors
///
/// See [`TransactionError`].
pub async fn receive(
    engine: &Engine,
    origin: &ServerName,
    transaction: Transaction,
) -> Result<Results, TransactionError> {
    let received = &engine.measures.received;
    if transaction.pdus.len() > MAX_PDUS || transaction.edus.len() > MAX_EDUS {
        received.too_many.count();
        return Err(TransactionError::TooMany);
    }
    let (engine, origin) = (engine.clone(), origin.to_owned());
    let task = async move { once(&engine, &origin, transaction).await };
    let task = tokio::spawn(task.in_current_span());
    let results = task.await.map_err(|error| Internal::Damaged(error.to_string()));
    Ok(results.flatten().inspect_err(|_| received.failed.count())?)
}

async fn once(
    engine: &Engine,
    origin: &ServerName,
    transaction: Transaction,
) -> Result<Results, Internal> {
    let key = (origin.to_owned(), transaction.txn_id.clone());
    let place = engine.transactions.0.get_with(key.clone(), Arc::default);
    let _alone = place.lock().await;
    if let Some(results) = answered(engine, origin, &transaction.txn_id).await? {
        engine.measures.received.repeated.count();
        return Ok(results);
    }
    let begun = Instant::now();
    let results = work(engine, origin, &transaction).await?;
    remember(engine, origin, transaction.txn_id.clone(), &results).await?;
    count(&engine.measures.received, &transaction, &results, begun);
    engine.transactions.0.invalidate(&key);
    Ok(results)
}

fn count(received: &Received, transaction: &Transaction, results: &Results, begun: Instant) {
    let judged = results.values().filter(|result| result.is_ok()).count();
    received.time.took(begun.elapsed());
    received.worked.count();
    received.judged.add(judged);
    received.refused.add(transaction.pdus.len().saturating_sub(judged));
    received.edus.add(transaction.edus.len());
}

/// Our answer to a transaction that was worked on before.
async fn answered(
    engine: &Engine,
    origin: &ServerName,
    txn_id: &str,
) -> Result<Option<Results>, Internal> {
    let mut conn = engine.storage.read().await?;
    let stored = federation::received(&mut conn, origin.as_str(), txn_id).await?.flatten();
    let Some(stored) = stored else { return Ok(None) };
    let stored: BTreeMap<_, Option<String>> = serde_json::from_str(&stored)?;
    let result = |error: Option<String>| error.map_or(Ok(()), Err);
    Ok(Some(stored.into_iter().map(|(id, error)| (id, result(error))).collect()))
}

async fn remember(
    engine: &Engine,
    origin: &ServerName,
    txn_id: String,
    results: &Results,
) -> Result<(), Internal> {
    let errors: BTreeMap<_, Option<&String>> =
        results.iter().map(|(id, result)| (id, result.as_ref().err())).collect();
    let mut change = Change::new();
    change.write(federation::Write::Received {
        origin: origin.to_string(),
        txn_id,
        response: Some(serde_json::to_string(&errors)?),
        ts: engine.clock.now_ms(),
    });
    engine.storage.commit(change).await?;
    Ok(())
}

/// Rooms beside each other, the events of one room in their order.
async fn work(
    engine: &Engine,
    origin: &ServerName,
    transaction: &Transaction,
) -> Result<Results, Internal> {
    let mut by_room: BTreeMap<OwnedRoomId, Vec<Box<RawValue>>> = BTreeMap::new();
    for pdu in &transaction.pdus {
        // One that names no room is the create event of a room that nobody can be in yet.
        if let Some(room_id) = room_id_of(pdu.get()) {
            by_room.entry(room_id).or_default().push(pdu.clone());
        }
    }
    let rooms = by_room.into_iter().map(|(room_id, pdus)| {
        let (engine, origin) = (engine.clone(), origin.to_owned());
        let task = async move {
            let received = room::receive(&engine, &origin, &room_id, &pdus).await;
            (room_id, received)
        };
        tokio::spawn(task.in_current_span())
    });
    let mut outcomes = stream::iter(rooms).buffer_unordered(ROOMS_AT_A_TIME);
    let (mut results, mut failure) = (Results::new(), None);
    while let Some(outcome) = outcomes.next().await {
        match outcome {
            Ok((_, Ok(received))) => results.extend(received),
            Ok((room_id, Err(error))) => {
                tracing::error!(%error, room.id = %room_id, "Events could not be received");
                failure = Some(error);
            }
            // The events of that room are as good as not sent; the others are not theirs to spoil.
            Err(panic) => tracing::error!(error = %panic, "Receiving events panicked"),
        }
    }
    drop(outcomes);
    if let Some(error) = failure {
        return Err(error);
    }
    ephemeral::receive(engine, origin, &transaction.edus).await?;
    Ok(results)
}

/// Forgets old transactions, until the process shuts down.
pub async fn upkeep(engine: Engine) {
    let mut ticks = tokio::time::interval(FORGET_EVERY);
    loop {
        tokio::select! {
            () = engine.shutdown.cancelled() => return,
            _ = ticks.tick() => {}
        }
        if let Err(error) = forget_old(&engine).await {
            tracing::warn!(%error, "Old transactions were not forgotten");
        }
    }
}

/// Forgets the transactions that came more than a week ago.
///
/// # Errors
///
/// When the database fails.
pub async fn forget_old(engine: &Engine) -> Result<(), Internal> {
    let before = engine.clock.now_ms().saturating_sub(KEEP_MS);
    let mut change = Change::new();
    change.write(federation::Write::ForgetReceived { before });
    engine.storage.commit(change).await?;
    Ok(())
}
