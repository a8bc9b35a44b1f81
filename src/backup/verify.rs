//! `starling backup verify`

use std::{fs, path::Path};

use anyhow::{Context as _, ensure};
use starling_storage::{blobs::Blobs, copies};

use super::{Database, FILES, FORMAT, Kind, MANIFEST, MEDIA, Manifest};

/// Says whether a backup is whole and undamaged.
///
/// # Errors
///
/// What is wrong with it.
pub(crate) async fn verify(directory: &Path) -> anyhow::Result<String> {
    let (manifest, files) = check(directory).await?;
    Ok(format!(
        "The backup of {} on {} is whole: {} bytes of the database and {} files.",
        manifest.server_name,
        manifest.database.kind,
        manifest.database.bytes,
        files.len()
    ))
}

/// What a backup is and the files that it has, when nothing is wrong with it.
pub(super) async fn check(directory: &Path) -> anyhow::Result<(Manifest, Vec<String>)> {
    let text = fs::read(directory.join(MANIFEST)).with_context(|| {
        format!("{} is no backup, or one that was not finished", directory.display())
    })?;
    let manifest: Manifest = serde_json::from_slice(&text).context("backup.json is damaged")?;
    ensure!(
        manifest.format == FORMAT,
        "the backup was made by Starling {}, in a form that this version does not know",
        manifest.version
    );
    check_database(directory, &manifest.database).await?;
    let (_, sha256) = super::measure(&directory.join(FILES))?;
    ensure!(sha256 == manifest.files.sha256, "{FILES} is damaged");
    let files = fs::read_to_string(directory.join(FILES))?;
    let files: Vec<String> = files.lines().map(ToOwned::to_owned).collect();
    check_files(directory, &files).await?;
    Ok((manifest, files))
}

async fn check_database(directory: &Path, expected: &Database) -> anyhow::Result<()> {
    let path = directory.join(expected.kind.file());
    let (bytes, sha256) = super::measure(&path)?;
    ensure!(
        (bytes, &sha256) == (expected.bytes, &expected.sha256),
        "{} is damaged",
        expected.kind.file()
    );
    match expected.kind {
        Kind::Sqlite => Ok(copies::check_file(&path).await?),
        Kind::Postgres => super::postgres::check(&path).await,
    }
}

async fn check_files(directory: &Path, files: &[String]) -> anyhow::Result<()> {
    let media = directory.join(MEDIA);
    ensure!(media.is_dir(), "{} is missing", media.display());
    let blobs = Blobs::local(&media)?;
    for hash in files {
        let found = super::hash_of(&blobs, hash).await?;
        let found = found.with_context(|| format!("the file {hash} is missing"))?;
        ensure!(found == *hash, "the file {hash} is damaged");
    }
    Ok(())
}
