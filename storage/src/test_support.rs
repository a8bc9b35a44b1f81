//! Temporary databases for tests: SQLite always, PostgreSQL when `STARLING_TEST_POSTGRES_URL` names a
//! server on which databases may be created.

use std::sync::atomic::{AtomicU32, Ordering};

use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection};
use tempfile::TempDir;

use crate::{
    db::{DbError, Result, Value, composed},
    storage::{Options, Storage},
};

static NUMBER: AtomicU32 = AtomicU32::new(0);

/// An empty database that goes away with [`TempDatabase::remove`].
#[derive(Debug)]
pub struct TempDatabase {
    /// What [`Options::url`] takes.
    pub url: String,
    dir: Option<TempDir>,
    server: Option<(String, String)>,
}

impl TempDatabase {
    /// A SQLite file in a directory of its own.
    ///
    /// # Errors
    ///
    /// When the directory cannot be made.
    pub fn sqlite() -> Result<Self> {
        let dir = TempDir::new().map_err(|error| DbError::Unavailable(error.to_string()))?;
        let url = format!("sqlite:{}", dir.path().join("starling.db").display());
        Ok(Self { url, dir: Some(dir), server: None })
    }

    /// A database on the PostgreSQL server for tests; `None` when there is none.
    ///
    /// # Errors
    ///
    /// When the server refuses.
    pub async fn postgres() -> Result<Option<Self>> {
        let Ok(server) = std::env::var("STARLING_TEST_POSTGRES_URL") else { return Ok(None) };
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("starling_test_{}_{number}", std::process::id());
        run(&server, format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)")).await?;
        run(&server, format!("CREATE DATABASE {name}")).await?;
        let (head, query) = server.split_once('?').unwrap_or((&server, ""));
        let base = head.rsplit_once('/').map_or(head, |(base, _)| base);
        let url = match query {
            "" => format!("{base}/{name}"),
            query => format!("{base}/{name}?{query}"),
        };
        Ok(Some(Self { url, dir: None, server: Some((server, name)) }))
    }

    /// Every kind of database that this machine has.
    ///
    /// # Errors
    ///
    /// When one cannot be made.
    pub async fn all() -> Result<Vec<Self>> {
        let mut all = vec![Self::sqlite()?];
        all.extend(Self::postgres().await?);
        Ok(all)
    }

    /// Opens the database.
    ///
    /// # Errors
    ///
    /// As [`Storage::open`].
    pub async fn open(&self) -> Result<Storage> {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let instance = format!("test-{}-{number}", std::process::id());
        let options = Options { url: self.url.clone(), max_connections: 8, instance, alone: false };
        Storage::open(options).await
    }

    /// Removes the database.
    ///
    /// # Errors
    ///
    /// When the server refuses.
    pub async fn remove(self) -> Result<()> {
        drop(self.dir);
        match self.server {
            Some((server, name)) => {
                run(&server, format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)")).await
            }
            None => Ok(()),
        }
    }
}

/// Runs one statement on a connection of its own.
async fn run(server: &str, statement: String) -> Result<()> {
    let mut conn = PgConnection::connect(server).await?;
    conn.execute(AssertSqlSafe(statement)).await?;
    conn.close().await?;
    Ok(())
}

/// Runs a test on an opened database of every kind, then removes it.
///
/// # Errors
///
/// When a database cannot be made, opened or removed.
pub async fn on_each_database<F: Future<Output = ()>>(test: impl Fn(Storage) -> F) -> Result<()> {
    for database in TempDatabase::all().await? {
        let storage = database.open().await?;
        test(storage.clone()).await;
        storage.close().await;
        database.remove().await?;
    }
    Ok(())
}

/// How SQLite would run a statement, step by step, on a new database.
///
/// # Errors
///
/// When the statement is none.
pub async fn plan(text: &str, values: Vec<Value>) -> Result<Vec<String>> {
    let database = TempDatabase::sqlite()?;
    let storage = database.open().await?;
    let mut conn = storage.read().await?;
    let steps = composed(format!("EXPLAIN QUERY PLAN {text}"), values);
    let steps = steps.map(&mut conn, |row| row.get(3)).await?;
    drop(conn);
    storage.close().await;
    database.remove().await?;
    Ok(steps)
}
