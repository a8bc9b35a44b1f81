//! Sending to one server until it has everything, or does not take it.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use crate::{Engine, Internal, measures::Sent, rng};
use ruma::{OwnedServerName, ServerName};
use serde_json::value::RawValue;
use starling_storage::{
    Change, CommitError, DbError,
    federation::{DestinationRow, Write},
};
use tokio::time::Instant;

use super::{
    backoff,
    durable::{self, Durable},
    edus::EduQueue,
    transaction::{self, MAX_EDUS, MAX_PDUS, Refused},
    turns::Turn,
};

/// How it ended.
#[derive(Debug)]
pub(super) enum End {
    /// The server has everything.
    Drained,
    /// The server is to be left alone for so long.
    Pause(Duration),
}

/// Why sending stopped for a reason of our own.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Db(#[from] DbError),
    #[error(transparent)]
    Commit(#[from] CommitError),
    #[error(transparent)]
    Json(#[from] serde_json::Error),
    #[error(transparent)]
    Internal(#[from] Internal),
}

/// How many characters of a reason are kept.
const MAX_REASON: usize = 500;
/// How long to wait after a failure of our own database.
const OWN_FAULT_PAUSE: Duration = Duration::from_secs(10);

/// Sends what a server is owed, one transaction after the other.
pub(super) async fn run(
    engine: Engine,
    server: OwnedServerName,
    edus: Arc<Mutex<EduQueue>>,
    mut turn: Turn,
) -> End {
    match drain(&engine, &server, &edus, &mut turn).await {
        Ok(end) => end,
        Err(error) => {
            tracing::error!(%error, server.name = %server, "Cannot send to a server");
            End::Pause(OWN_FAULT_PAUSE)
        }
    }
}

async fn drain(
    engine: &Engine,
    server: &ServerName,
    edus: &Mutex<EduQueue>,
    turn: &mut Turn,
) -> Result<End, Failure> {
    let mut row = transaction::destination(engine, server).await?;
    let mut limit = MAX_PDUS;
    while !engine.shutdown.is_cancelled() {
        if !fill(engine, server, &mut row, limit, edus).await? {
            return Ok(End::Drained);
        }
        let Some(txn) = &row.txn else { return Ok(End::Drained) };
        let begun = Instant::now();
        let outcome = turn.take(transaction::send(engine, server, txn)).await;
        count(&engine.measures.sent, &outcome, begun);
        match outcome {
            Ok(()) => {
                limit = MAX_PDUS;
                let sent = taken(engine, &mut row);
                store_with(engine, &row, sent).await?;
            }
            Err(Refused::Never(reason)) => {
                tracing::warn!(server.name = %server, reason, limit, "A transaction was refused");
                let sent;
                (limit, sent) = give_up_or_halve(&mut row, limit);
                store_with(engine, &row, sent).await?;
            }
            Err(Refused::Later(reason)) => {
                let pause = failed(engine, &mut row, &reason);
                store(engine, &row).await?;
                tracing::info!(server.name = %server, reason, failures = row.failures, ?pause,
                    "A server did not take a transaction");
                return Ok(End::Pause(pause));
            }
        }
    }
    Ok(End::Drained)
}

fn count(sent: &Sent, outcome: &Result<(), Refused>, begun: Instant) {
    sent.time.took(begun.elapsed());
    match outcome {
        Ok(()) => sent.taken.count(),
        Err(Refused::Later(_)) => sent.failed.count(),
        Err(Refused::Never(_)) => sent.refused.count(),
    }
}

/// Puts the next transaction in flight, unless one is. `false` when there is nothing to send.
async fn fill(
    engine: &Engine,
    server: &ServerName,
    row: &mut DestinationRow,
    limit: usize,
    edus: &Mutex<EduQueue>,
) -> Result<bool, Failure> {
    if row.txn.is_some() {
        return Ok(true);
    }
    let (events, pos) = transaction::owed(engine, server, row.cursor_pos, limit).await?;
    let most = MAX_EDUS.min(limit.saturating_mul(2));
    let mut conn = engine.storage.snapshot().await?;
    let Durable { edus: mut all, rows, .. } =
        Durable::read(&mut conn, server.as_str(), most).await?;
    drop(conn);
    all.extend(take_edus(edus, MAX_EDUS - all.len(), engine.clock.now_ms()));
    let edus = all;
    if events.is_empty() && edus.is_empty() {
        if pos > row.cursor_pos {
            row.cursor_pos = pos;
            store(engine, row).await?;
        }
        return Ok(false);
    }
    engine.measures.sent.pdus.add(events.len());
    engine.measures.sent.edus.add(edus.len());
    let durable = !events.is_empty() || !rows.is_empty();
    let rows = (!rows.is_empty()).then(|| serde_json::to_string(&rows)).transpose()?;
    row.txn = Some(transaction::compose(engine, &events, edus, (pos, rows))?);
    // A repetition must be identical; what lives in memory only is not repeated after a restart.
    if durable {
        store(engine, row).await?;
    }
    Ok(true)
}

fn take_edus(edus: &Mutex<EduQueue>, limit: usize, now_ms: i64) -> Vec<Box<RawValue>> {
    edus.lock().unwrap_or_else(PoisonError::into_inner).take(limit, now_ms)
}

/// The transaction was taken. What it was made of, beside events, is given back to be removed.
fn taken(engine: &Engine, row: &mut DestinationRow) -> Option<String> {
    let mut rows = None;
    if let Some(txn) = row.txn.take() {
        row.cursor_pos = row.cursor_pos.max(txn.pos);
        rows = txn.rows;
    }
    row.failures = 0;
    row.retry_ts = 0;
    row.last_error = None;
    row.last_success_ts = Some(engine.clock.now_ms());
    rows
}

fn failed(engine: &Engine, row: &mut DestinationRow, reason: &str) -> Duration {
    row.last_error = Some(reason.chars().take(MAX_REASON).collect());
    row.failures = row.failures.saturating_add(1);
    let [jitter] = rng::bytes::<1>();
    let pause = backoff::pause(row.failures, jitter);
    let pause_ms = i64::try_from(pause.as_millis()).unwrap_or(i64::MAX);
    row.retry_ts = engine.clock.now_ms().saturating_add(pause_ms);
    pause
}

/// One event that a server cannot read must not keep the others from it: with ever smaller
/// transactions it is found, and left out.
fn give_up_or_halve(row: &mut DestinationRow, limit: usize) -> (usize, Option<String>) {
    let txn = row.txn.take();
    if limit > 1 {
        return (limit / 2, None);
    }
    let mut rows = None;
    if let Some(txn) = txn {
        row.cursor_pos = row.cursor_pos.max(txn.pos);
        rows = txn.rows;
    }
    (MAX_PDUS, rows)
}

async fn store(engine: &Engine, row: &DestinationRow) -> Result<(), Failure> {
    store_with(engine, row, None).await
}

/// The same, and what was sent and need not be sent again goes.
async fn store_with(
    engine: &Engine,
    row: &DestinationRow,
    sent: Option<String>,
) -> Result<(), Failure> {
    let mut change = Change::new();
    if let Some(sent) = sent {
        durable::taken(&mut change, &row.server, &sent);
    }
    change.write(Write::Destination(row.clone()));
    engine.storage.commit(change).await?;
    Ok(())
}
