//! The connections of one database: who has one, and who waits for one.

use std::{path::Path, sync::Arc};

use sqlx::PgPool;
use tokio::time::Instant;

use super::{
    Conn, Kind, Result, postgres,
    sqlite::{Pool, Role},
};
use crate::measures::Measures;

/// One database, with what is measured of it.
#[derive(Clone, Debug)]
pub struct Db {
    pools: Pools,
    measures: Arc<Measures>,
}

/// The pools of one database.
#[derive(Clone, Debug)]
pub(crate) enum Pools {
    /// One file: many readers, one writer.
    Sqlite {
        /// `query_only` connections.
        readers: Pool,
        /// The one connection that writes.
        writer: Pool,
    },
    /// A PostgreSQL server, 13 or newer.
    Postgres(PgPool),
}

/// The connections of a process: those for reading (SQLite), or all (PostgreSQL).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connections {
    /// Those that somebody has.
    pub used: usize,
    /// Those that are open, and nobody has.
    pub idle: usize,
    /// How many there may be.
    pub most: usize,
}

impl Db {
    /// Opens `url`: `sqlite:PATH` or `postgres://…`. Does not migrate.
    ///
    /// # Errors
    ///
    /// When the database cannot be reached or opened.
    pub async fn open(url: &str, max_connections: u32) -> Result<Self> {
        let Some(path) = url.strip_prefix("sqlite:") else {
            return Ok(Self::of(Pools::Postgres(postgres::open(url, max_connections).await?)));
        };
        let path = Path::new(path);
        let writer = Pool::open(path, 1, Role::Writer)?;
        let readers = Pool::open(path, max_connections, Role::Reader)?;
        Ok(Self::of(Pools::Sqlite { readers, writer }))
    }

    /// Opens an SQLite file without changing a setting of it; a frozen one is one that nobody writes to.
    pub(crate) fn open_file(path: &Path, frozen: bool) -> Result<Self> {
        let pool = Pool::open(path, 1, if frozen { Role::Examiner } else { Role::Copier })?;
        Ok(Self::of(Pools::Sqlite { readers: pool.clone(), writer: pool }))
    }

    fn of(pools: Pools) -> Self {
        Self { pools, measures: Arc::default() }
    }

    /// A connection for single statements outside a transaction.
    ///
    /// # Errors
    ///
    /// When no connection becomes free in time.
    pub async fn read(&self) -> Result<Conn> {
        let acquired = async {
            Ok(match &self.pools {
                Pools::Sqlite { readers, .. } => Kind::Sqlite(readers.acquire().await?),
                // In a box, or whoever asks SQLite would carry the room that this takes.
                Pools::Postgres(pool) => Kind::Postgres(Box::pin(pool.acquire()).await?),
            })
        };
        Ok(self.conn(self.waited_for(acquired).await?))
    }

    /// A connection whose statements all see the database at one moment.
    ///
    /// # Errors
    ///
    /// When no connection becomes free in time.
    pub async fn snapshot(&self) -> Result<Conn> {
        let slow = &self.measures.slow;
        let begun = async {
            Ok(match &self.pools {
                Pools::Sqlite { readers, .. } => {
                    Kind::SqliteTx(readers.begin("BEGIN", slow).await?)
                }
                Pools::Postgres(pool) => {
                    let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
                    Kind::PostgresTx(postgres::begin(pool, begin).await?)
                }
            })
        };
        Ok(self.conn(self.waited_for(begun).await?))
    }

    /// A writing transaction; ends by [`Conn::commit`] or is rolled back when dropped. For the
    /// writer and the migrations only.
    pub(crate) async fn write(&self) -> Result<Conn> {
        Ok(self.conn(match &self.pools {
            Pools::Sqlite { writer, .. } => {
                Kind::SqliteTx(writer.begin("BEGIN IMMEDIATE", &self.measures.slow).await?)
            }
            Pools::Postgres(pool) => {
                Kind::PostgresTx(self.waited_for(postgres::begin(pool, "BEGIN")).await?)
            }
        }))
    }

    fn conn(&self, kind: Kind) -> Conn {
        Conn { kind, measures: self.measures.clone() }
    }

    /// Counts and times whoever waits for a connection.
    async fn waited_for<T>(&self, connection: impl Future<Output = Result<T>>) -> Result<T> {
        let measures = &self.measures.connections;
        let _waiting = measures.waiting.enter();
        let since = Instant::now();
        let connection = connection.await;
        let waited = since.elapsed();
        measures.waited.took(waited);
        measures.lately.took(waited);
        connection
    }

    /// How many connections there are, and how many of them somebody has.
    #[must_use]
    pub fn connections(&self) -> Connections {
        match &self.pools {
            Pools::Sqlite { readers, .. } => readers.connections(),
            Pools::Postgres(pool) => postgres::connections(pool),
        }
    }

    /// What is measured.
    #[must_use]
    pub fn measures(&self) -> &Measures {
        &self.measures
    }

    /// The pools, for those that tell the products apart.
    pub(crate) fn pools(&self) -> &Pools {
        &self.pools
    }

    /// Whether this is SQLite.
    #[must_use]
    pub fn is_sqlite(&self) -> bool {
        matches!(self.pools, Pools::Sqlite { .. })
    }

    /// Closes all connections, after a last checkpoint on SQLite.
    pub async fn close(&self) {
        match &self.pools {
            Pools::Sqlite { readers, writer } => {
                readers.close().await;
                writer.close().await;
            }
            Pools::Postgres(pool) => pool.close().await,
        }
    }
}
