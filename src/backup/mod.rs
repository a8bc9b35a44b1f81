//! `starling backup`: all that a server has stored, as a directory.
//!
//! The database is copied first, as it is at one moment, then the files that it names, and `backup.json`
//! last: a directory without it is no backup. Whatever is uploaded meanwhile is not in the copied
//! database, and what is deleted meanwhile is forgotten when the copy is restored. The keys that sign are
//! in the database; the configuration is not part of a backup.

mod create;
mod postgres;
mod restore;
mod verify;

use std::{fmt::Write as _, fs::File, io::Read as _, path::Path};

use anyhow::Context as _;
use futures_util::StreamExt as _;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use starling_storage::blobs::Blobs;

pub(crate) use create::create;
pub(crate) use restore::restore;
pub(crate) use verify::verify;

/// The form of a backup that this version writes and reads.
const FORMAT: u32 = 1;

/// The file that says what the others are.
const MANIFEST: &str = "backup.json";
/// The hashes of the files, one on each line.
const FILES: &str = "files.txt";
/// The directory of the files.
const MEDIA: &str = "media";

/// What `backup.json` says.
#[derive(Debug, Deserialize, Serialize)]
struct Manifest {
    format: u32,
    /// The version of the program that made it.
    version: String,
    server_name: String,
    created_ts: i64,
    database: Database,
    files: Files,
}

#[derive(Debug, Deserialize, Serialize)]
struct Database {
    kind: Kind,
    bytes: u64,
    sha256: String,
}

/// How many files there are, and the hash of the list of them.
#[derive(Debug, Deserialize, Serialize)]
struct Files {
    count: usize,
    sha256: String,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Sqlite,
    Postgres,
}

impl Kind {
    fn of(url: &str) -> Self {
        if url.starts_with("sqlite:") { Self::Sqlite } else { Self::Postgres }
    }

    /// What the copy is called.
    fn file(self) -> &'static str {
        match self {
            Self::Sqlite => "starling.db",
            Self::Postgres => "starling.dump",
        }
    }
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Sqlite => "SQLite",
            Self::Postgres => "PostgreSQL",
        })
    }
}

/// What became of a file that was to be copied.
enum Copied {
    Whole,
    /// It is not there.
    Missing,
    /// Its bytes are not those of its name.
    Damaged,
}

/// Copies the bytes of a file from one store to another.
async fn copy(hash: &str, from: &Blobs, into: &Blobs) -> anyhow::Result<Copied> {
    let bytes = match from.get(hash, None).await {
        Err(error) if error.is_not_found() => return Ok(Copied::Missing),
        outcome => outcome?,
    };
    let incoming = into.receive(hash, bytes, u64::MAX).await?;
    if incoming.stored.hash != hash {
        into.give_up(incoming).await?;
        return Ok(Copied::Damaged);
    }
    into.keep(incoming).await?;
    Ok(Copied::Whole)
}

/// SHA-256 of a stored file's bytes; `None` when it is not there.
async fn hash_of(blobs: &Blobs, hash: &str) -> anyhow::Result<Option<String>> {
    let mut bytes = match blobs.get(hash, None).await {
        Err(error) if error.is_not_found() => return Ok(None),
        outcome => outcome?,
    };
    let mut digest = Sha256::new();
    while let Some(chunk) = bytes.next().await {
        digest.update(chunk?);
    }
    Ok(Some(hex(&digest.finalize())))
}

/// Bytes and SHA-256 of a file.
fn measure(path: &Path) -> anyhow::Result<(u64, String)> {
    let mut file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
    let (mut digest, mut buffer, mut bytes) = (Sha256::new(), vec![0; 1 << 20], 0);
    loop {
        let count = file.read(&mut buffer)?;
        let Some(part) = buffer.get(..count).filter(|part| !part.is_empty()) else { break };
        digest.update(part);
        bytes += u64::try_from(count)?;
    }
    Ok((bytes, hex(&digest.finalize())))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
