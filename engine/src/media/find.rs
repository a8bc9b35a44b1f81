//! Finding the file that somebody wants.

use std::time::Duration;

use starling_storage::{
    Change,
    media::{self as rows, MediaRow, Write},
};
use tokio::time::{Instant, timeout_at};

use super::{MediaError, MediaId, remote};
use crate::{Engine, Internal};

/// How much later a file must be wanted for that to be written down, in milliseconds.
const NOTE_USE_MS: i64 = 24 * 60 * 60 * 1_000;

/// A file that is here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// SHA-256 in hexadecimal: what its bytes are called in `engine.blobs`.
    pub hash: String,
    /// Bytes.
    pub size: u64,
    /// The content type that the uploader named.
    pub content_type: Option<String>,
    /// The file name that the uploader named.
    pub file_name: Option<String>,
    /// Whether only those who are logged in may have it.
    pub authenticated: bool,
}

/// How far one goes to find a file.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// How long an upload that was promised is waited for.
    pub patience: Duration,
    /// Whether other servers are asked.
    pub ask_others: bool,
    /// Whether files are found that only those who are logged in may have.
    pub authenticated: bool,
}

/// The file of that name, which is fetched if it is not here.
///
/// # Errors
///
/// [`MediaError::NotFound`], [`MediaError::NotYetUploaded`], [`MediaError::RemoteTooLarge`],
/// [`MediaError::Remote`].
pub async fn find(engine: &Engine, id: &MediaId, effort: Effort) -> Result<Found, MediaError> {
    let until = Instant::now() + effort.patience;
    let row = match here(engine, id).await? {
        Some(row) if row.hash.is_none() => arrived(engine, id, until).await?,
        Some(row) => row,
        None if id.origin() == engine.config.server_name => return Err(MediaError::NotFound),
        // What is fetched now is not for those who are not logged in, if new files are not.
        None if !effort.ask_others
            || (!effort.authenticated && engine.config.media.freeze_legacy) =>
        {
            return Err(MediaError::NotFound);
        }
        None => remote::fetch(engine, id, effort.patience).await?,
    };
    if row.quarantined_by.is_some() || (row.authenticated && !effort.authenticated) {
        return Err(MediaError::NotFound);
    }
    note_use(engine, &row).await?;
    found(row)
}

/// What is known of a file here.
pub(super) async fn here(engine: &Engine, id: &MediaId) -> Result<Option<MediaRow>, Internal> {
    let mut conn = engine.storage.read().await?;
    Ok(rows::get(&mut conn, id.origin().as_str(), id.id()).await?)
}

/// Waits for an upload that was promised.
async fn arrived(engine: &Engine, id: &MediaId, until: Instant) -> Result<MediaRow, MediaError> {
    loop {
        let mut news = std::pin::pin!(engine.media.arrived.notified());
        news.as_mut().enable();
        let row = here(engine, id).await?.ok_or(MediaError::NotFound)?;
        if row.hash.is_some() {
            return Ok(row);
        }
        if row.expires_ts.is_none_or(|expires| expires <= engine.clock.now_ms()) {
            return Err(MediaError::NotFound);
        }
        tokio::select! {
            outcome = timeout_at(until, news) => {
                outcome.map_err(|_| MediaError::NotYetUploaded)?;
            }
            () = engine.shutdown.cancelled() => return Err(MediaError::NotYetUploaded),
        }
    }
}

async fn note_use(engine: &Engine, row: &MediaRow) -> Result<(), Internal> {
    let now = engine.clock.now_ms();
    if now - row.used_ts < NOTE_USE_MS {
        return Ok(());
    }
    let mut change = Change::new();
    let (origin, media_id) = (row.origin.clone(), row.media_id.clone());
    change.write(Write::Used { origin, media_id, ts: now });
    engine.storage.commit(change).await?;
    Ok(())
}

fn found(row: MediaRow) -> Result<Found, MediaError> {
    Ok(Found {
        hash: row.hash.ok_or(MediaError::NotFound)?,
        size: u64::try_from(row.size).unwrap_or_default(),
        content_type: row.content_type,
        file_name: row.file_name,
        authenticated: row.authenticated,
    })
}
