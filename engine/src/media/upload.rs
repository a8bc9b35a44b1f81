//! Taking files in.

use bytes::Bytes;
use futures_util::Stream;
use ruma::UserId;
use starling_storage::{
    Change, Claim, CommitError,
    blobs::Stored,
    media::{self as rows, Kept, MediaRow, Write},
};

use super::{MediaError, MediaId};
use crate::{Engine, rng};

/// How long a promise can be kept, in milliseconds.
///
/// <https://spec.matrix.org/v1.19/client-server-api/#post_matrixmediav1create>
const PROMISE_MS: i64 = 24 * 60 * 60 * 1_000;

/// How many promises of one user may be neither kept nor too old.
const MOST_PROMISES: i64 = 100;

/// How long what a file is said to be may be, in bytes; more is left out.
const LONGEST_LABEL: usize = 255;

/// What a file is said to be.
#[derive(Clone, Debug, Default)]
pub struct Label {
    /// The content type.
    pub content_type: Option<String>,
    /// The file name.
    pub file_name: Option<String>,
}

impl Label {
    /// The same without what is too long or no text.
    pub(super) fn bounded(self) -> Self {
        let good = |text: &String| {
            !text.is_empty() && text.len() <= LONGEST_LABEL && !text.contains(char::is_control)
        };
        Self {
            content_type: self.content_type.filter(good).filter(|text| is_content_type(text)),
            file_name: self.file_name.filter(good),
        }
    }
}

fn is_content_type(text: &str) -> bool {
    text.is_ascii() && text.parse::<mime::Mime>().is_ok()
}

/// Stores a file of a user, and returns its name.
///
/// # Errors
///
/// [`MediaError::TooLarge`], [`MediaError::OverQuota`], [`MediaError::BrokenOff`].
///
/// <https://spec.matrix.org/v1.19/client-server-api/#post_matrixmediav3upload>
pub async fn upload<E: std::fmt::Display>(
    engine: &Engine,
    user: &UserId,
    label: Label,
    bytes: impl Stream<Item = Result<Bytes, E>> + Send,
) -> Result<MediaId, MediaError> {
    let id = new_id(engine)?;
    let limit = allowance(engine, user).await?;
    let label = label.bounded();
    let now = engine.clock.now_ms();
    store(engine, bytes, limit, |stored| {
        let mut change = Change::new();
        change.write(Write::Add(MediaRow {
            uploader: Some(user.to_string()),
            authenticated: engine.config.media.freeze_legacy,
            ..row(&id, stored, label, now)
        }));
        change
    })
    .await?;
    Ok(id)
}

/// A name for a file that the user will upload, and until when that is possible (milliseconds).
///
/// # Errors
///
/// [`MediaError::TooManyPromises`], [`MediaError::OverQuota`].
///
/// <https://spec.matrix.org/v1.19/client-server-api/#post_matrixmediav1create>
pub async fn promise(engine: &Engine, user: &UserId) -> Result<(MediaId, i64), MediaError> {
    allowance(engine, user).await?;
    let now = engine.clock.now_ms();
    let mut conn = engine.storage.read().await?;
    if rows::promises(&mut conn, user.as_str(), now).await? >= MOST_PROMISES {
        return Err(MediaError::TooManyPromises);
    }
    drop(conn);
    let id = new_id(engine)?;
    let expires = now + PROMISE_MS;
    let mut change = Change::new();
    change.write(Write::Add(MediaRow {
        origin: id.origin().to_string(),
        media_id: id.id().to_owned(),
        uploader: Some(user.to_string()),
        created_ts: now,
        used_ts: now,
        expires_ts: Some(expires),
        authenticated: engine.config.media.freeze_legacy,
        ..MediaRow::default()
    }));
    engine.storage.commit(change).await?;
    Ok((id, expires))
}

/// Stores the file that a user has promised.
///
/// # Errors
///
/// As [`upload`], and [`MediaError::NotFound`] when it was not promised or too long ago,
/// [`MediaError::NotYours`], [`MediaError::Taken`].
///
/// <https://spec.matrix.org/v1.19/client-server-api/#put_matrixmediav3uploadservernamemediaid>
pub async fn keep_promise<E: std::fmt::Display>(
    engine: &Engine,
    user: &UserId,
    id: &MediaId,
    label: Label,
    bytes: impl Stream<Item = Result<Bytes, E>> + Send,
) -> Result<(), MediaError> {
    check_promise(engine, user, id).await?;
    let limit = allowance(engine, user).await?;
    let label = label.bounded();
    let outcome = store(engine, bytes, limit, |stored| {
        let mut change = Change::new();
        change.claim(Claim::MediaPromise(Kept {
            origin: id.origin().to_string(),
            media_id: id.id().to_owned(),
            uploader: user.to_string(),
            now_ts: engine.clock.now_ms(),
            hash: stored.hash.clone(),
            size: i64::try_from(stored.size).unwrap_or(i64::MAX),
            content_type: label.content_type,
            file_name: label.file_name,
        }));
        change
    })
    .await;
    match outcome {
        Err(MediaError::Internal(crate::Internal::Commit(CommitError::UsedUp))) => {
            check_promise(engine, user, id).await?;
            Err(MediaError::NotFound)
        }
        other => {
            engine.media.arrived.notify_waiters();
            other.map(|_| ())
        }
    }
}

async fn check_promise(engine: &Engine, user: &UserId, id: &MediaId) -> Result<(), MediaError> {
    let mut conn = engine.storage.read().await?;
    let found = rows::get(&mut conn, id.origin().as_str(), id.id()).await?;
    let row = found.filter(|row| row.uploader.is_some()).ok_or(MediaError::NotFound)?;
    if row.uploader.as_deref() != Some(user.as_str()) {
        return Err(MediaError::NotYours);
    }
    if row.hash.is_some() {
        return Err(MediaError::Taken);
    }
    match row.expires_ts.is_some_and(|expires| expires > engine.clock.now_ms()) {
        true => Ok(()),
        false => Err(MediaError::NotFound),
    }
}

/// How many bytes a user may upload with one file now.
async fn allowance(engine: &Engine, user: &UserId) -> Result<u64, MediaError> {
    let settings = &engine.config.media;
    let Some(quota) = settings.quota_per_user else {
        return Ok(settings.largest_upload);
    };
    let mut conn = engine.storage.read().await?;
    let used = rows::uploaded_bytes(&mut conn, user.as_str()).await?;
    match quota.saturating_sub(u64::try_from(used).unwrap_or_default()) {
        0 => Err(MediaError::OverQuota),
        left if left < settings.largest_upload => Ok(left),
        _ => Ok(settings.largest_upload),
    }
}

/// Stores bytes and what `change` says of them: both, or neither.
pub(super) async fn store<E: std::fmt::Display>(
    engine: &Engine,
    bytes: impl Stream<Item = Result<Bytes, E>> + Send,
    limit: u64,
    change: impl FnOnce(&Stored) -> Change,
) -> Result<Stored, MediaError> {
    let incoming = engine.blobs.receive(&rng::token::<16>(), bytes, limit).await?;
    let stored = incoming.stored.clone();
    let _storing = engine.media.storing.read().await;
    let mut suspect = Change::new();
    suspect.write(Write::Suspect { hash: stored.hash.clone() });
    if let Err(error) = engine.storage.commit(suspect).await {
        engine.blobs.give_up(incoming).await?;
        return Err(error.into());
    }
    engine.blobs.keep(incoming).await?;
    engine.storage.commit(change(&stored)).await?;
    Ok(stored)
}

/// The row of a file that is there.
pub(super) fn row(id: &MediaId, stored: &Stored, label: Label, now: i64) -> MediaRow {
    MediaRow {
        origin: id.origin().to_string(),
        media_id: id.id().to_owned(),
        hash: Some(stored.hash.clone()),
        size: i64::try_from(stored.size).unwrap_or(i64::MAX),
        content_type: label.content_type,
        file_name: label.file_name,
        created_ts: now,
        used_ts: now,
        ..MediaRow::default()
    }
}

fn new_id(engine: &Engine) -> Result<MediaId, MediaError> {
    let id = MediaId::new(engine.config.server_name.as_str(), &rng::token::<18>());
    id.ok_or_else(|| crate::Internal::Damaged("the server's name".to_owned()).into())
}
