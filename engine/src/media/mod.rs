//! Files: what users upload, what they want to see of other servers' users, and smaller pictures of both.
//!
//! A file is a row (`storage/src/media.rs`) and bytes named by their hash (`storage/src/blobs.rs`). The
//! bytes are noted as possible garbage before they get their name and looked at when a row that needed
//! them is gone, so none is left over, whatever breaks off.
//!
//! Reading order: [`id`], [`upload`], [`find`] with [`remote`] and [`envelope`], [`thumbnails`] with [`picture`], [`sweep`];
//! beside them [`preview`] with [`page`].
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#content-repository>

use std::{sync::Arc, time::Duration};

use moka::sync::Cache;
use starling_storage::blobs::BlobError;
pub use starling_storage::blobs::{ByteStream, Shown};
use tokio::sync::{Mutex, Notify, RwLock, Semaphore};

use crate::Internal;

pub mod envelope;
pub mod find;
pub mod id;
pub mod page;
pub mod picture;
pub mod preview;
mod remote;
pub mod sweep;
#[cfg(test)]
mod tests;
pub mod thumbnails;
pub mod upload;

pub use find::Found;
pub use id::MediaId;

/// How many pictures are worked on at the same time.
const PICTURES_AT_ONCE: usize = 2;

/// How long it is remembered who is fetching what; longer than fetching takes.
const FETCH_MEMORY: Duration = Duration::from_secs(15 * 60);

/// What this process remembers about files.
#[derive(Debug)]
pub struct Memory {
    /// Held for reading from when bytes are noted as garbage until their row is there; for writing while
    /// garbage is removed.
    storing: RwLock<()>,
    /// Who fetches a file of another server; the others wait.
    fetching: Cache<MediaId, Arc<Mutex<()>>>,
    /// Who makes a picture smaller.
    pictures: Arc<Semaphore>,
    /// A promise was kept.
    arrived: Notify,
    /// What pages of the web are about.
    previews: preview::Previews,
}

impl Default for Memory {
    fn default() -> Self {
        Self {
            storing: RwLock::default(),
            fetching: Cache::builder().max_capacity(10_000).time_to_idle(FETCH_MEMORY).build(),
            pictures: Arc::new(Semaphore::new(PICTURES_AT_ONCE)),
            arrived: Notify::new(),
            previews: preview::previews(),
        }
    }
}

/// Why there is no file, or none is taken.
#[derive(Debug, thiserror::Error)]
pub enum MediaError {
    /// There is no such file.
    #[error("there is no such file")]
    NotFound,
    /// It is promised, and did not come in time.
    #[error("it has not been uploaded yet")]
    NotYetUploaded,
    /// There is a file already.
    #[error("there is a file already")]
    Taken,
    /// Somebody else promised it.
    #[error("somebody else is to upload it")]
    NotYours,
    /// The user has uploaded as much as they may.
    #[error("the quota of the user is used up")]
    OverQuota,
    /// The user has promised as much as they may.
    #[error("too many uploads are pending")]
    TooManyPromises,
    /// It has more bytes, or more pixels, than are worked on.
    #[error("it is too large")]
    TooLarge,
    /// There is no smaller picture of it.
    #[error("no thumbnail can be made of it")]
    NotAPicture,
    /// The other server has it, and it is too large to be passed on.
    #[error("it is too large to be fetched")]
    RemoteTooLarge,
    /// The other server did not help.
    #[error("the other server did not give it: {0}")]
    Remote(String),
    /// The store of files failed or cannot be reached.
    #[error("the files of this server cannot be reached: {0}")]
    Store(String),
    /// The upload broke off.
    #[error("the upload broke off: {0}")]
    BrokenOff(String),
    /// A failure of this server.
    #[error(transparent)]
    Internal(#[from] Internal),
}

impl From<starling_storage::DbError> for MediaError {
    fn from(error: starling_storage::DbError) -> Self {
        Self::Internal(error.into())
    }
}

impl From<starling_storage::CommitError> for MediaError {
    fn from(error: starling_storage::CommitError) -> Self {
        Self::Internal(error.into())
    }
}

impl From<BlobError> for MediaError {
    fn from(error: BlobError) -> Self {
        match error {
            BlobError::TooLarge(_) => Self::TooLarge,
            BlobError::Source(reason) => Self::BrokenOff(reason),
            BlobError::Store(_) if error.is_not_found() => {
                tracing::warn!(%error, "the store has lost a file");
                Self::NotFound
            }
            BlobError::Store(_) => Self::Store(error.to_string()),
        }
    }
}
