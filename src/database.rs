//! Opens the database and makes sure that it is this deployment's.

use std::time::Duration;

use anyhow::{Context as _, bail};
use starling_engine::rng;
use starling_storage::{Options, Storage, facts};
use tokio::time::timeout;

use crate::config::Config;

/// A database that takes longer does not answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(2);

/// Opens and migrates the configured database.
///
/// # Errors
///
/// When it cannot be reached, is in use by another process, was written by a newer version,
/// or belongs to a server of another name.
pub(crate) async fn open(config: &Config) -> anyhow::Result<Storage> {
    open_at(config, url(config)).await
}

/// The same with a database that is elsewhere.
///
/// # Errors
///
/// As [`open`].
pub(crate) async fn open_at(config: &Config, url: String) -> anyhow::Result<Storage> {
    let options = Options {
        url,
        max_connections: config.database.connections,
        instance: rng::token::<9>(),
        alone: true,
    };
    let storage = Storage::open(options).await.context("cannot open the database")?;
    storage.measures().slow.notice_from(config.log.slow_query_ms);
    // Events, accounts and rooms carry the name; under another one they would be somebody else's.
    let name = storage.meta("server_name", config.server_name.as_str()).await?;
    if name != config.server_name {
        bail!("the database belongs to {name}, but `server_name` is {}", config.server_name);
    }
    Ok(storage)
}

/// Whether the database answers.
pub(crate) async fn answers(storage: &Storage) -> bool {
    let question = async { facts::head(&mut storage.read().await?).await };
    matches!(timeout(ANSWER_LIMIT, question).await, Ok(Ok(_)))
}

/// Where the configured database is.
pub(crate) fn url(config: &Config) -> String {
    match config.database.url.get() {
        Some(url) => url.to_owned(),
        None => format!("sqlite:{}", config.data_dir.join("starling.db").display()),
    }
}
