//! PostgreSQL: its pool, its transactions, and the session that keeps a deployment alone.

use std::{str::FromStr as _, time::Duration};

use sqlx::{
    ConnectOptions as _, Connection as _, PgConnection, PgPool, Postgres, Row as _, Transaction,
    postgres::{PgConnectOptions, PgPoolOptions},
};

use super::{Connections, DbError, Result};

/// The number of the lock, one of a database's own: "starling" in ASCII.
const ALONE: i64 = 0x7374_6172_6c69_6e67;

/// How long a PostgreSQL that is away, or busy with others, is waited for.
const AWAY_AFTER: Duration = Duration::from_secs(5);

pub(super) async fn open(url: &str, max_connections: u32) -> Result<PgPool> {
    let options = PgConnectOptions::from_str(url)?
        .statement_cache_capacity(512)
        // What is slow is said by [`crate::slow`], for both databases.
        .disable_statement_logging();
    // The pool repeats a refused connection until its time is up; one attempt tells what is wrong.
    PgConnection::connect_with(&options).await?.close().await?;
    Ok(PgPoolOptions::new()
        .max_connections(max_connections)
        .acquire_timeout(AWAY_AFTER)
        .test_before_acquire(false)
        .connect_with(options)
        .await?)
}

pub(super) fn connections(pool: &PgPool) -> Connections {
    let open = usize::try_from(pool.size()).unwrap_or(usize::MAX);
    let idle = pool.num_idle().min(open);
    let most = usize::try_from(pool.options().get_max_connections()).unwrap_or(usize::MAX);
    Connections { used: open - idle, idle, most }
}

/// Begins a transaction that is rolled back when the caller goes away, at whatever moment.
///
/// sqlx counts a transaction as open only after the server's answer: a future that is dropped while it
/// waits for that answer leaves a connection in the pool whose transaction nobody ends. In a task of
/// its own the wait ends, and the transaction that nobody takes is rolled back.
pub(super) async fn begin(
    pool: &PgPool,
    statement: &'static str,
) -> Result<Transaction<'static, Postgres>> {
    let pool = pool.clone();
    let begun = tokio::spawn(async move { pool.begin_with(statement).await }).await;
    Ok(begun.map_err(|error| DbError::Unavailable(error.to_string()))??)
}

/// A session of PostgreSQL that holds the lock of the one process that works on the database.
#[derive(Debug)]
pub(crate) struct Session(PgConnection);

impl Session {
    /// Takes the lock in a new session; `None` when another session has it. It is given up with the
    /// session.
    pub(crate) async fn alone(url: &str) -> Result<Option<Self>> {
        let mut conn = PgConnection::connect_with(&PgConnectOptions::from_str(url)?).await?;
        let taken = sqlx::query("SELECT pg_try_advisory_lock($1)").bind(ALONE);
        let taken: bool = taken.fetch_one(&mut conn).await?.try_get(0)?;
        Ok(taken.then_some(Self(conn)))
    }

    /// Whether the session still is.
    pub(crate) async fn check(&mut self) -> Result<()> {
        Ok(self.0.ping().await?)
    }
}
