//! Bytes that are too large for a database, each named by its SHA-256 and stored once.
//!
//! They are in a directory, or in a bucket of an S3-compatible service. A name is given when all bytes
//! are there and safe: what is cut off leaves nothing.

use std::{
    io::ErrorKind,
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, TryStreamExt as _, stream::BoxStream};
use object_store::{
    GetOptions, GetRange, ObjectStore, ObjectStoreExt as _, WriteMultipart, aws::AmazonS3,
    local::LocalFileSystem, path::Path as Name,
};
use sha2::{Digest as _, Sha256};

mod s3;

pub use s3::{S3, Shown};

/// Bytes of one part of an upload: S3 wants 5 MiB at least.
const PART: usize = 5 * 1024 * 1024;

/// How many parts of one upload are on their way at the same time.
const PARTS_AT_ONCE: usize = 2;

/// The folder of what is not complete.
const INCOMING: &str = "incoming";

/// A name that nothing has.
const NOTHING: &str = "none";

/// Why bytes are not stored, or not read.
#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    /// There are more than so many bytes.
    #[error("more than {0} bytes")]
    TooLarge(u64),
    /// They came from somewhere, and that broke off.
    #[error("the bytes broke off: {0}")]
    Source(String),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] object_store::Error),
}

impl BlobError {
    /// Whether there is nothing of that name.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Store(object_store::Error::NotFound { .. }))
    }
}

/// Bytes on their way.
pub type ByteStream = BoxStream<'static, Result<Bytes, BlobError>>;

/// What bytes are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// SHA-256 in hexadecimal.
    pub hash: String,
    /// Bytes.
    pub size: u64,
}

/// What was taken in and has no name yet.
#[derive(Debug)]
pub struct Incoming {
    name: Name,
    /// What it is.
    pub stored: Stored,
}

/// The store.
#[derive(Clone, Debug)]
pub struct Blobs {
    store: Arc<dyn ObjectStore>,
    /// Where bytes come in, if that is a directory.
    incoming: Option<PathBuf>,
    /// The bucket, if others are to fetch from it themselves.
    open_to_others: Option<Arc<AmazonS3>>,
}

impl Blobs {
    /// A directory, which is made if it is not there.
    ///
    /// # Errors
    ///
    /// When it cannot be made.
    pub fn local(directory: &Path) -> Result<Self, BlobError> {
        let failed = |error| object_store::Error::Generic { store: "local", source: error };
        std::fs::create_dir_all(directory).map_err(|error| failed(Box::new(error)))?;
        let store = LocalFileSystem::new_with_prefix(directory)?;
        Ok(Self {
            store: Arc::new(store.with_fsync(true).with_automatic_cleanup(false)),
            incoming: Some(directory.join(INCOMING)),
            open_to_others: None,
        })
    }

    /// Memory, for tests.
    #[cfg(feature = "test-support")]
    #[must_use]
    pub fn memory() -> Self {
        let store = Arc::new(object_store::memory::InMemory::new());
        Self { store, incoming: None, open_to_others: None }
    }

    /// A bucket.
    ///
    /// # Errors
    ///
    /// When the settings are no settings.
    pub fn s3(settings: S3) -> Result<Self, BlobError> {
        let redirect = settings.redirect;
        let store = s3::open(settings)?;
        let open_to_others = redirect.then(|| store.clone());
        Ok(Self { store, incoming: None, open_to_others })
    }

    /// Whether the store can be reached and lets us in.
    ///
    /// # Errors
    ///
    /// When it cannot, or does not.
    pub async fn check(&self) -> Result<(), BlobError> {
        match self.store.head(&name(NOTHING)).await {
            Ok(_) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Where others get what was stored under a hash, if they are to get it from the bucket. The
    /// address can be used for some minutes.
    ///
    /// # Errors
    ///
    /// When it cannot be signed.
    pub async fn address(&self, hash: &str, shown: Shown<'_>) -> Result<Option<String>, BlobError> {
        match &self.open_to_others {
            Some(store) => Ok(Some(s3::address(store, &name(hash), shown).await?)),
            None => Ok(None),
        }
    }

    /// Takes in what comes, if it is at most `limit` bytes, without a name yet. `id` is one that
    /// nothing else has.
    ///
    /// # Errors
    ///
    /// [`BlobError`]; nothing is kept then.
    pub async fn receive<E: std::fmt::Display>(
        &self,
        id: &str,
        bytes: impl Stream<Item = Result<Bytes, E>> + Send,
        limit: u64,
    ) -> Result<Incoming, BlobError> {
        let name = Name::from(format!("{INCOMING}/{id}"));
        let upload = self.store.put_multipart(&name).await?;
        let mut upload = WriteMultipart::new_with_chunk_size(upload, PART);
        match take_in(&mut upload, bytes, limit).await {
            Ok(stored) => {
                upload.finish().await?;
                Ok(Incoming { name, stored })
            }
            Err(error) => {
                upload.abort().await?;
                Err(error)
            }
        }
    }

    /// Gives what was taken in its name.
    ///
    /// # Errors
    ///
    /// When the store fails.
    pub async fn keep(&self, incoming: Incoming) -> Result<(), BlobError> {
        let name = name(&incoming.stored.hash);
        match self.store.head(&name).await {
            Ok(_) => self.store.delete(&incoming.name).await?,
            Err(_) => self.store.rename(&incoming.name, &name).await?,
        }
        Ok(())
    }

    /// Gives up what was taken in.
    ///
    /// # Errors
    ///
    /// When the store fails.
    pub async fn give_up(&self, incoming: Incoming) -> Result<(), BlobError> {
        Ok(self.store.delete(&incoming.name).await?)
    }

    /// What was stored under a hash, or a part of it.
    ///
    /// # Errors
    ///
    /// When it is not there, or the store fails.
    pub async fn get(
        &self,
        hash: &str,
        range: Option<Range<u64>>,
    ) -> Result<ByteStream, BlobError> {
        let options = GetOptions { range: range.map(GetRange::Bounded), ..GetOptions::default() };
        let found = self.store.get_opts(&name(hash), options).await?;
        Ok(found.into_stream().map_err(BlobError::from).boxed())
    }

    /// All bytes that were stored under a hash, for what is known to be small enough.
    ///
    /// # Errors
    ///
    /// When it is not there, or the store fails.
    pub async fn read(&self, hash: &str) -> Result<Bytes, BlobError> {
        Ok(self.store.get(&name(hash)).await?.bytes().await?)
    }

    /// Removes what was stored under a hash; nothing if it is not there.
    ///
    /// # Errors
    ///
    /// When the store fails.
    pub async fn delete(&self, hash: &str) -> Result<(), BlobError> {
        match self.store.delete(&name(hash)).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Removes from the directory what was begun and has not grown since `before`. In a bucket nothing is
    /// seen of it; a service forgets it by a rule of the bucket.
    ///
    /// # Errors
    ///
    /// When the directory cannot be read.
    pub async fn clear_incoming(&self, before: SystemTime) -> std::io::Result<()> {
        let Some(directory) = &self.incoming else { return Ok(()) };
        let mut begun = match tokio::fs::read_dir(directory).await {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            outcome => outcome?,
        };
        while let Some(file) = begun.next_entry().await? {
            if file.metadata().await?.modified()? < before {
                tokio::fs::remove_file(file.path()).await?;
            }
        }
        Ok(())
    }
}

/// Hashes and counts what comes, and hands it on.
async fn take_in<E: std::fmt::Display>(
    upload: &mut WriteMultipart,
    bytes: impl Stream<Item = Result<Bytes, E>> + Send,
    limit: u64,
) -> Result<Stored, BlobError> {
    let (mut digest, mut size) = (Sha256::new(), 0_u64);
    let mut bytes = std::pin::pin!(bytes);
    while let Some(chunk) = bytes.next().await {
        let chunk = chunk.map_err(|error| BlobError::Source(error.to_string()))?;
        size = size.saturating_add(chunk.len() as u64);
        if size > limit {
            return Err(BlobError::TooLarge(limit));
        }
        digest.update(&chunk);
        upload.wait_for_capacity(PARTS_AT_ONCE).await?;
        upload.put(chunk);
    }
    let hash = digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(Stored { hash, size })
}

/// Two levels of folders, so that none has too many files.
fn name(hash: &str) -> Name {
    let (first, second) = (hash.get(..2).unwrap_or("x"), hash.get(2..4).unwrap_or("x"));
    Name::from(format!("{first}/{second}/{hash}"))
}

#[cfg(test)]
mod tests {
    use futures_util::stream;

    use super::*;

    fn chunks(parts: &[&'static [u8]]) -> impl Stream<Item = Result<Bytes, String>> + Send + use<> {
        let parts: Vec<_> = parts.iter().map(|part| Ok(Bytes::from_static(part))).collect();
        stream::iter(parts)
    }

    fn files(directory: &Path) -> usize {
        let entries = std::fs::read_dir(directory).unwrap();
        let count = |entry: std::fs::DirEntry| match entry.file_type().unwrap().is_dir() {
            true => files(&entry.path()),
            false => 1,
        };
        entries.map(|entry| count(entry.unwrap())).sum()
    }

    async fn put(blobs: &Blobs, id: &str, parts: &[&'static [u8]]) -> Stored {
        let incoming = blobs.receive(id, chunks(parts), 100).await.unwrap();
        let stored = incoming.stored.clone();
        blobs.keep(incoming).await.unwrap();
        stored
    }

    #[tokio::test]
    async fn the_same_bytes_are_stored_once_and_read_in_part() {
        let directory = tempfile::tempdir().unwrap();
        let blobs = Blobs::local(directory.path()).unwrap();
        let first = put(&blobs, "1", &[b"hello ", b"world"]).await;
        let second = put(&blobs, "2", &[b"hello world"]).await;
        assert_eq!(first, second);
        assert_eq!(first.size, 11);
        assert!(first.hash.starts_with("b94d27b9934d3e08"), "{}", first.hash);
        assert_eq!(files(directory.path()), 1);
        assert_eq!(blobs.read(&first.hash).await.unwrap(), "hello world");
        let part: Vec<Bytes> =
            blobs.get(&first.hash, Some(6..9)).await.unwrap().try_collect().await.unwrap();
        assert_eq!(part.concat(), b"wor");
        blobs.delete(&first.hash).await.unwrap();
        blobs.delete(&first.hash).await.unwrap();
        assert!(blobs.read(&first.hash).await.is_err());
    }

    #[tokio::test]
    async fn what_is_too_large_or_cut_off_leaves_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let blobs = Blobs::local(directory.path()).unwrap();
        let refused = blobs.receive("1", chunks(&[b"hello ", b"world"]), 10).await;
        assert!(matches!(refused, Err(BlobError::TooLarge(10))), "{refused:?}");
        let broken = stream::iter([Ok(Bytes::from_static(b"hello")), Err("gone".to_owned())]);
        let refused = blobs.receive("2", broken, 10).await;
        assert!(matches!(refused, Err(BlobError::Source(_))), "{refused:?}");
        assert_eq!(files(directory.path()), 0);
        let given_up = blobs.receive("3", chunks(&[b"hello"]), 10).await.unwrap();
        blobs.give_up(given_up).await.unwrap();
        assert_eq!(files(directory.path()), 0);
        let empty = put(&blobs, "4", &[]).await;
        assert_eq!(blobs.read(&empty.hash).await.unwrap(), "");
    }

    #[tokio::test]
    async fn what_was_begun_and_not_gone_on_with_is_removed() {
        let directory = tempfile::tempdir().unwrap();
        let blobs = Blobs::local(directory.path()).unwrap();
        let now = std::fs::metadata(directory.path()).unwrap().modified().unwrap();
        blobs.clear_incoming(now).await.unwrap();
        let incoming = directory.path().join(INCOMING);
        std::fs::create_dir_all(&incoming).unwrap();
        for (name, age) in [("old#1", 100), ("new#1", 0)] {
            let file = std::fs::File::create(incoming.join(name)).unwrap();
            file.set_modified(now - std::time::Duration::from_secs(age)).unwrap();
        }
        blobs.clear_incoming(now - std::time::Duration::from_secs(50)).await.unwrap();
        assert!(!incoming.join("old#1").exists() && incoming.join("new#1").exists());
    }
}
