//! What is done for accounts in the background.

use std::time::Duration;

use starling_storage::{Change, accounts, events, sliding, to_device};

use super::{devices, emails};
use crate::{Engine, Internal};

/// How often it is written when devices were last seen.
const WRITE_SEEN_EVERY: Duration = Duration::from_secs(60);

/// After how many of those rounds what has expired is removed.
const EXPIRE_EVERY: u32 = 10;

/// How long what has expired is kept, in milliseconds: longer than anything that counts.
const KEEP_MS: i64 = 2 * 60 * 60 * 1_000;

/// How long connections of sliding sync are kept that no client uses, in milliseconds.
const KEEP_CONNECTIONS_MS: i64 = 30 * 24 * 60 * 60 * 1_000;

/// How long it is remembered which event a client's transaction made, in milliseconds: no client tries
/// again for so long.
const KEEP_TRANSACTIONS_MS: i64 = 7 * 24 * 60 * 60 * 1_000;

/// Writes when devices were seen and removes what has expired, until the process shuts down; then
/// once more, so that nothing is lost.
pub async fn run(engine: Engine) {
    let mut ticks = tokio::time::interval(WRITE_SEEN_EVERY);
    for round in 0_u32.. {
        let is_last = tokio::select! {
            () = engine.shutdown.cancelled() => true,
            _ = ticks.tick() => false,
        };
        if let Err(error) = devices::write_seen(&engine).await {
            tracing::warn!(%error, "it was not written when devices were seen");
        }
        if is_last {
            return;
        }
        if round.is_multiple_of(EXPIRE_EVERY)
            && let Err(error) = expire(&engine).await
        {
            tracing::warn!(%error, "expired sessions were not removed");
        }
    }
}

async fn expire(engine: &Engine) -> Result<(), Internal> {
    let mut change = Change::new();
    let now = engine.clock.now_ms();
    let emails_before = now - emails::LIFETIME_MS;
    change.write(accounts::Write::Expire { before: now - KEEP_MS, emails_before });
    let before = now - KEEP_TRANSACTIONS_MS;
    change.write(events::Write::ForgetTransactions { before });
    // No server tries a transaction again for so long.
    change.write(to_device::Write::ForgetReceived { before: before - KEEP_TRANSACTIONS_MS });
    change.write(sliding::Write::Expire { before: now - KEEP_CONNECTIONS_MS });
    engine.storage.commit(change).await?;
    Ok(())
}
