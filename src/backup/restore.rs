//! `starling backup restore`

use std::{
    collections::HashSet,
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail, ensure};
use starling_storage::{Storage, blobs::Blobs, copies, db::Db};

use super::{Copied, Kind, MEDIA, verify};
use crate::{config::Config, database, engine};

/// Makes a backup the data of a server that has none yet, and says what came of it.
///
/// # Errors
///
/// When the backup is damaged or another server's, when there is data already, or when something cannot
/// be written. The database of SQLite gets its name last; one of PostgreSQL that was not finished has to
/// be made anew.
pub(crate) async fn restore(config: &Config, from: &Path) -> anyhow::Result<String> {
    let url = database::url(config);
    let (manifest, files) = verify::check(from).await?;
    ensure!(
        manifest.server_name == config.server_name.as_str(),
        "the backup is of {}, but `server_name` is {}",
        manifest.server_name,
        config.server_name
    );
    let kind = manifest.database.kind;
    ensure!(
        kind == Kind::of(&url),
        "the backup is of a database of {kind}; this server is configured for the other kind"
    );
    let copy = from.join(kind.file());
    match url.strip_prefix("sqlite:") {
        Some(path) => {
            ensure!(!Path::new(path).exists(), "there is a database already: {path}");
            restore_files(config, from, &files).await?;
            restore_sqlite(config, &copy, path, &files).await?;
        }
        None => {
            let db = Db::open(&url, 1).await?;
            let empty = copies::is_empty(&mut db.read().await?).await?;
            db.close().await;
            ensure!(empty, "the database is not empty");
            restore_files(config, from, &files).await?;
            super::postgres::restore(&url, &copy).await?;
            settle(&database::open(config).await?, &files).await?;
        }
    }
    Ok(format!(
        "Restored {} with {} files. What happened after the backup is lost; sessions that ended since \
         then are open again.",
        manifest.server_name,
        files.len()
    ))
}

async fn restore_files(config: &Config, from: &Path, files: &[String]) -> anyhow::Result<()> {
    let (from, into) = (Blobs::local(&from.join(MEDIA))?, engine::blobs(config)?);
    for hash in files {
        match super::copy(hash, &from, &into).await? {
            Copied::Whole => {}
            Copied::Missing | Copied::Damaged => bail!("the file {hash} cannot be read"),
        }
    }
    Ok(())
}

/// The file is put in order under another name: a server that starts meanwhile does not find it.
async fn restore_sqlite(
    config: &Config,
    copy: &Path,
    path: &str,
    files: &[String],
) -> anyhow::Result<()> {
    let unfinished = format!("{path}.restoring");
    for rest in rests(&unfinished) {
        match fs::remove_file(&rest) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
    }
    let mut options = OpenOptions::new();
    let mut file = options.write(true).create_new(true).mode(0o600).open(&unfinished)?;
    io::copy(&mut File::open(copy)?, &mut file)?;
    file.sync_all()?;
    settle(&database::open_at(config, format!("sqlite:{unfinished}")).await?, files).await?;
    fs::rename(&unfinished, path)?;
    for rest in rests(&unfinished) {
        let _ = fs::remove_file(rest);
    }
    let directory = Path::new(path).parent().context("the database is in no directory")?;
    Ok(File::open(directory)?.sync_all()?)
}

/// The files that SQLite and a process on it leave beside a database, and the database.
fn rests(path: &str) -> [PathBuf; 4] {
    ["", "-wal", "-shm", ".lock"].map(|end| PathBuf::from(format!("{path}{end}")))
}

async fn settle(storage: &Storage, files: &[String]) -> anyhow::Result<()> {
    let named = copies::files(&mut storage.read().await?).await?;
    let there: HashSet<&String> = files.iter().collect();
    let missing: Vec<String> = named.into_iter().filter(|hash| !there.contains(hash)).collect();
    copies::settle(storage.db(), &missing).await?;
    storage.close().await;
    Ok(())
}
