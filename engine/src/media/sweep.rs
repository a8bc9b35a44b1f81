//! Removing what nobody needs: promises that were not kept, what other servers have and nobody here
//! wants any more, and bytes that belong to nothing.

use std::time::{Duration, UNIX_EPOCH};

use starling_storage::{
    Change,
    media::{self as rows, MediaRow, Write},
};

use crate::{Engine, Internal};

/// How often it is looked.
const EVERY: Duration = Duration::from_secs(10 * 60);

/// How long an upload may stand still before it counts as broken off.
const BEGUN: Duration = Duration::from_secs(24 * 60 * 60);

/// How many files are removed with one change.
const BATCH: i64 = 100;

/// Looks from time to time, until the process shuts down.
pub async fn run(engine: Engine) {
    let mut ticks = tokio::time::interval(EVERY);
    loop {
        tokio::select! {
            () = engine.shutdown.cancelled() => return,
            _ = ticks.tick() => {}
        }
        let now = Duration::from_millis(engine.clock.now_ms().unsigned_abs());
        let before = UNIX_EPOCH + now.saturating_sub(BEGUN);
        if let Err(error) = engine.blobs.clear_incoming(before).await {
            tracing::warn!(%error, "uploads that broke off were not removed");
        }
        if let Err(error) = sweep(&engine).await {
            tracing::warn!(%error, "files that nobody needs were not removed");
        }
    }
}

/// Looks once.
///
/// # Errors
///
/// When the database or the store fails.
pub async fn sweep(engine: &Engine) -> Result<(), Internal> {
    let mut change = Change::new();
    change.write(Write::Expire { now_ts: engine.clock.now_ms() });
    engine.storage.commit(change).await?;
    if let Some(age) = engine.config.media.remote_lifetime_ms {
        forget_remote(engine, engine.clock.now_ms() - age, None).await?;
    }
    if let Some(most) = engine.config.media.most_remote {
        forget_remote(engine, i64::MAX, Some(most)).await?;
    }
    empty_bin(engine).await
}

/// Forgets files of other servers that were not wanted since `before`, as long as there are more than
/// `most` bytes of them. How many were forgotten.
///
/// # Errors
///
/// When the database fails.
pub async fn forget_remote(
    engine: &Engine,
    before: i64,
    most: Option<u64>,
) -> Result<u64, Internal> {
    let mut forgotten = 0;
    loop {
        let mut conn = engine.storage.read().await?;
        let mut excess = match most {
            None => i64::MAX,
            Some(most) => {
                let most = i64::try_from(most).unwrap_or(i64::MAX);
                rows::remote_bytes(&mut conn).await?.saturating_sub(most)
            }
        };
        let mut change = Change::new();
        let unused = rows::unused_remote(&mut conn, before, BATCH).await?;
        drop(conn);
        for row in unused {
            if excess <= 0 {
                break;
            }
            excess -= row.size;
            forgotten += 1;
            change.write(removal(row));
        }
        if change.is_empty() {
            return Ok(forgotten);
        }
        engine.storage.commit(change).await?;
    }
}

/// What removes a file.
pub(crate) fn removal(row: MediaRow) -> Write {
    Write::Remove { origin: row.origin, media_id: row.media_id }
}

/// Removes bytes that nothing needs.
///
/// # Errors
///
/// When the database or the store fails.
pub async fn empty_bin(engine: &Engine) -> Result<(), Internal> {
    loop {
        let suspects = rows::garbage(&mut engine.storage.read().await?, BATCH).await?;
        if suspects.is_empty() {
            return Ok(());
        }
        let _alone = engine.media.storing.write().await;
        let mut change = Change::new();
        for hash in suspects {
            if !rows::is_needed(&mut engine.storage.read().await?, &hash).await? {
                let deleted = engine.blobs.delete(&hash).await;
                deleted.map_err(|error| Internal::Damaged(error.to_string()))?;
            }
            change.write(Write::Swept { hash });
        }
        engine.storage.commit(change).await?;
    }
}
