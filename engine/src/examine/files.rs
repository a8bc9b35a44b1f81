//! Whether the bytes of all files are there, and are those of their names.

use std::fmt::Write as _;

use futures_util::StreamExt as _;
use sha2::{Digest as _, Sha256};
use starling_storage::{
    blobs::{BlobError, Blobs},
    examine as rows,
};

use super::{Examined, Found, PAGE};
use crate::internal::Internal;

/// Looks at all files.
pub(super) async fn look(examined: &Examined<'_>, found: &mut Found) -> Result<(), Internal> {
    let mut after = String::new();
    loop {
        let mut conn = examined.db.read().await?;
        let files = rows::files(&mut conn, &after, PAGE).await?;
        drop(conn);
        let Some((last, _)) = files.last() else { return Ok(()) };
        after.clone_from(last);
        for (hash, size) in files {
            found.looked_at += 1;
            let Some(what) = wrong(examined.blobs, &hash, size).await else { continue };
            // It may have been removed meanwhile.
            if rows::is_needed(&mut examined.db.read().await?, &hash).await? {
                found.wrong(format!("the file {hash} {what}"));
            }
        }
    }
}

async fn wrong(blobs: &Blobs, hash: &str, size: i64) -> Option<String> {
    match measure(blobs, hash).await {
        Ok(measured) if measured.0 != hash => Some("is damaged".to_owned()),
        Ok(measured) if measured.1 != size => Some("is noted to be of another size".to_owned()),
        Ok(_) => None,
        Err(error) if error.is_not_found() => Some("is not there".to_owned()),
        Err(error) => Some(format!("cannot be read: {error}")),
    }
}

/// SHA-256 and length of what is stored under a name.
async fn measure(blobs: &Blobs, hash: &str) -> Result<(String, i64), BlobError> {
    let mut bytes = blobs.get(hash, None).await?;
    let (mut digest, mut size) = (Sha256::new(), 0);
    while let Some(chunk) = bytes.next().await {
        let chunk = chunk?;
        size += i64::try_from(chunk.len()).unwrap_or(i64::MAX);
        digest.update(&chunk);
    }
    let hex = digest.finalize().iter().fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    });
    Ok((hex, size))
}
