//! How much disk a server's data takes.

use std::{fs, path::Path};

use anyhow::{Result, ensure};

use crate::servers::Server;

/// How often a server is stopped until it has left nothing in the log beside its database.
const STOPS: usize = 5;

/// How many bytes the server's database has. The server is stopped for it, so that everything is where it
/// stays, and started again.
pub(super) async fn disk(server: &Server) -> Result<u64> {
    let data = server.directory().join("data");
    server.stop()?;
    for _ in 0..STOPS {
        if !data.join("starling.db-wal").exists() {
            break;
        }
        server.resume().await?;
        server.stop()?;
    }
    ensure!(!data.join("starling.db-wal").exists(), "the log of the database stays");
    let bytes = match server.backends() {
        Some(database) => database.bytes()?,
        None => size(&data)?,
    };
    server.resume().await?;
    Ok(bytes)
}

/// How many bytes the database has while the server runs, without what is in the log beside it only.
pub(super) fn stored(server: &Server) -> Result<u64> {
    match server.backends() {
        Some(database) => database.bytes(),
        None => Ok(fs::metadata(server.directory().join("data/starling.db"))?.len()),
    }
}

/// How many bytes the log beside the database of a running server has; none where there is no such file.
pub(crate) fn log_of(server: &Server) -> u64 {
    let log = server.directory().join("data/starling.db-wal");
    fs::metadata(log).map_or(0, |metadata| metadata.len())
}

fn size(path: &Path) -> Result<u64> {
    let metadata = fs::metadata(path)?;
    if !metadata.is_dir() {
        return Ok(metadata.len());
    }
    fs::read_dir(path)?.map(|entry| size(&entry?.path())).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_files_below_a_directory_are_counted() {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("below")).unwrap();
        fs::write(directory.path().join("one"), [0; 10]).unwrap();
        fs::write(directory.path().join("below").join("two"), [0; 5]).unwrap();
        assert_eq!(size(directory.path()).unwrap(), 15);
    }
}
