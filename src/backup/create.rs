//! `starling backup create`

use std::{
    fs::{self, DirBuilder, File, OpenOptions, Permissions},
    io::Write as _,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::Path,
};

use anyhow::{Context as _, bail};
use starling_engine::clock::{Clock as _, SystemClock};
use starling_storage::{
    blobs::Blobs,
    copies,
    db::{Conn, Db},
};

use super::{Copied, Database, FILES, FORMAT, Files, Kind, MANIFEST, MEDIA, Manifest};
use crate::{config::Config, database, engine};

/// Copies database and files into a directory, and says what came of it.
///
/// # Errors
///
/// When something cannot be read or written; the directory is no backup then.
pub(crate) async fn create(config: &Config, into: &Path) -> anyhow::Result<String> {
    let url = database::url(config);
    let kind = Kind::of(&url);
    if let Some(path) = url.strip_prefix("sqlite:") {
        anyhow::ensure!(Path::new(path).exists(), "there is no database {path}");
    }
    let cannot_make = || format!("cannot make the directory {}", into.display());
    DirBuilder::new().mode(0o700).create(into).with_context(cannot_make)?;
    let copy = into.join(kind.file());
    copy_database(&url, &copy).await.context("the database could not be copied")?;
    // What is asked after the copy was made names no file that is gone since long.
    let db = Db::open(&url, 1).await?;
    let (server_name, named) = contents(&mut db.read().await?).await?;
    db.close().await;
    let (copied, damaged) = copy_files(config, &named, &into.join(MEDIA)).await?;
    write(&into.join(FILES), copied.iter().flat_map(|hash| [hash, "\n"]).collect::<String>())?;
    let (bytes, sha256) = super::measure(&copy)?;
    let manifest = Manifest {
        format: FORMAT,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        server_name,
        created_ts: SystemClock.now_ms(),
        database: Database { kind, bytes, sha256 },
        files: Files { count: copied.len(), sha256: super::measure(&into.join(FILES))?.1 },
    };
    write(&into.join(MANIFEST), serde_json::to_string_pretty(&manifest)?)?;
    File::open(into)?.sync_all()?;
    let mut said = format!(
        "Backed up {}: {bytes} bytes of the database and {} files.",
        manifest.server_name,
        copied.len()
    );
    if !damaged.is_empty() {
        bail!("{said}\nThese are damaged in the store and left out:\n{}", damaged.join("\n"));
    }
    let gone = named.len() - copied.len();
    if gone > 0 {
        said.push_str(&format!("\n{gone} files that it names are not in the store."));
    }
    Ok(said)
}

async fn copy_database(url: &str, copy: &Path) -> anyhow::Result<()> {
    match url.strip_prefix("sqlite:") {
        Some(path) => copies::copy_file(Path::new(path), copy).await?,
        None => super::postgres::dump(url, copy).await?,
    }
    fs::set_permissions(copy, Permissions::from_mode(0o600))?;
    Ok(File::open(copy)?.sync_all()?)
}

/// Whose database it is, and the files that it names.
async fn contents(conn: &mut Conn) -> anyhow::Result<(String, Vec<String>)> {
    let server_name =
        copies::server_name(conn).await?.context("no server has used the database")?;
    Ok((server_name, copies::files(conn).await?))
}

/// Copies files; which were, and which are damaged.
async fn copy_files(
    config: &Config,
    named: &[String],
    into: &Path,
) -> anyhow::Result<(Vec<String>, Vec<String>)> {
    let (from, into) = (engine::blobs(config)?, Blobs::local(into)?);
    let (mut copied, mut damaged) = (Vec::new(), Vec::new());
    for hash in named {
        match super::copy(hash, &from, &into).await? {
            Copied::Whole => copied.push(hash.clone()),
            Copied::Damaged => damaged.push(hash.clone()),
            Copied::Missing => {}
        }
    }
    Ok((copied, damaged))
}

fn write(path: &Path, text: String) -> anyhow::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())?;
    Ok(file.sync_all()?)
}
