//! `starling admin export-user`: what the server knows about a user, as files.

use std::{
    fs::{DirBuilder, File, OpenOptions},
    io::{BufWriter, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::Path,
};

use anyhow::Context as _;
use futures_util::StreamExt as _;
use starling_engine::{Engine, accounts::export};

/// Writes the files into a directory that does not exist yet, and says what they are.
pub(super) async fn export(engine: &Engine, name: &str, into: &Path) -> anyhow::Result<String> {
    let found = export::account(engine, name).await?;
    let found = found.with_context(|| format!("there is no account {name}"))?;
    DirBuilder::new()
        .mode(0o700)
        .create(into)
        .with_context(|| format!("cannot make the directory {}", into.display()))?;
    for (about, document) in &found.documents {
        let mut file = create(into, &format!("{about}.json"))?;
        serde_json::to_writer_pretty(&mut file, document)?;
        file.flush()?;
    }
    let mut file = create(into, "events.jsonl")?;
    let mut count = 0_usize;
    for room_id in &found.rooms {
        let mut after = export::beginning();
        loop {
            let events = export::events(engine, &found.user_id, room_id, &mut after).await?;
            if events.is_empty() {
                break;
            }
            for event in &events {
                writeln!(file, "{event}")?;
            }
            count += events.len();
        }
    }
    file.flush()?;
    write_files(engine, &found.files, &into.join("files")).await?;
    Ok(format!(
        "Wrote what there is about {} into {}: {} documents, {count} events and {} files.",
        found.user_id,
        into.display(),
        found.documents.len(),
        found.files.len(),
    ))
}

/// Writes the bytes of files, each under its id.
async fn write_files(
    engine: &Engine,
    files: &[(String, String)],
    into: &Path,
) -> anyhow::Result<()> {
    if files.is_empty() {
        return Ok(());
    }
    DirBuilder::new().mode(0o700).create(into)?;
    for (id, hash) in files {
        let mut bytes = engine.blobs.get(hash, None).await?;
        let mut file = create(into, id)?;
        while let Some(chunk) = bytes.next().await {
            file.write_all(&chunk?)?;
        }
        file.flush()?;
    }
    Ok(())
}

fn create(directory: &Path, name: &str) -> anyhow::Result<BufWriter<File>> {
    let path = directory.join(name);
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
    Ok(BufWriter::new(file.with_context(|| format!("cannot make {}", path.display()))?))
}
