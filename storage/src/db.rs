//! Connections, statements and rows of whichever database the deployment runs on.
//!
//! One statement text serves both: PostgreSQL's, which [`crate::dialect`] turns into SQLite's where
//! they differ. Values cross this boundary as `i64`, `i16`, text, bytes and lists.

use std::{path::Path, str::FromStr, time::Duration};

use futures_util::TryStreamExt as _;
use sqlx::{
    AssertSqlSafe, Column as _, Connection as _, Executor as _, PgConnection, PgPool, Postgres,
    Row as _, SqlSafeStr as _, Sqlite, SqliteConnection, SqlitePool, Transaction,
    pool::PoolConnection,
    postgres::{PgConnectOptions, PgPoolOptions, PgRow},
    sqlite::{
        SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteRow, SqliteSynchronous,
    },
};

use crate::dialect;

/// The number of the lock, one of a database's own: "starling" in ASCII.
const ALONE: i64 = 0x7374_6172_6c69_6e67;

/// How long a PostgreSQL that is away, or busy with others, is waited for.
const AWAY_AFTER: Duration = Duration::from_secs(5);

/// A database error. Callers cannot act on it: it is logged and answered as an internal error.
#[derive(Debug, thiserror::Error)]
pub enum DbError {
    /// The driver's error.
    #[error(transparent)]
    Sql(#[from] sqlx::Error),
    /// A migration failed, or the database belongs to a newer version.
    #[error(transparent)]
    Migration(#[from] sqlx::migrate::MigrateError),
    /// A stored value is not what this version writes.
    #[error("unexpected value in the database: {0}")]
    Corrupt(String),
    /// Another process holds the database file, or it cannot be opened.
    #[error("{0}")]
    Unavailable(String),
}

/// The result of a storage function.
pub type Result<T, E = DbError> = std::result::Result<T, E>;

/// The pools of one database.
#[derive(Clone, Debug)]
pub enum Db {
    /// One file: many readers, one writer.
    Sqlite {
        /// `query_only` connections.
        readers: SqlitePool,
        /// The one connection that writes.
        writer: SqlitePool,
    },
    /// A PostgreSQL server, 13 or newer.
    Postgres(PgPool),
}

impl Db {
    /// Opens `url`: `sqlite:PATH` or `postgres://…`. Does not migrate.
    ///
    /// # Errors
    ///
    /// When the database cannot be reached or opened.
    pub async fn open(url: &str, max_connections: u32) -> Result<Self> {
        match url.strip_prefix("sqlite:") {
            Some(path) => open_sqlite(Path::new(path), max_connections).await,
            None => open_postgres(url, max_connections).await,
        }
    }

    /// Opens an SQLite file without changing a setting of it; a frozen one is one that nobody writes to.
    pub(crate) async fn open_file(path: &Path, frozen: bool) -> Result<Self> {
        let options = SqliteConnectOptions::new().filename(path).create_if_missing(false);
        let options = options.read_only(frozen).immutable(frozen);
        let pool = SqlitePoolOptions::new().max_connections(1).connect_with(options).await?;
        Ok(Self::Sqlite { readers: pool.clone(), writer: pool })
    }

    /// A connection for single statements outside a transaction.
    ///
    /// # Errors
    ///
    /// When no connection becomes free in time.
    pub async fn read(&self) -> Result<Conn> {
        Ok(match self {
            Self::Sqlite { readers, .. } => Conn(Kind::Sqlite(readers.acquire().await?)),
            Self::Postgres(pool) => Conn(Kind::Postgres(pool.acquire().await?)),
        })
    }

    /// A connection whose statements all see the database at one moment.
    ///
    /// # Errors
    ///
    /// When no connection becomes free in time.
    pub async fn snapshot(&self) -> Result<Conn> {
        Ok(match self {
            Self::Sqlite { readers, .. } => Conn(Kind::SqliteTx(readers.begin().await?)),
            Self::Postgres(pool) => {
                let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
                Conn(Kind::PostgresTx(begin_postgres(pool, begin).await?))
            }
        })
    }

    /// A writing transaction; ends by [`Conn::commit`] or is rolled back when dropped. For the
    /// writer and the migrations only.
    pub(crate) async fn write(&self) -> Result<Conn> {
        Ok(match self {
            Self::Sqlite { writer, .. } => {
                Conn(Kind::SqliteTx(writer.begin_with("BEGIN IMMEDIATE").await?))
            }
            Self::Postgres(pool) => Conn(Kind::PostgresTx(begin_postgres(pool, "BEGIN").await?)),
        })
    }

    /// Whether this is SQLite.
    #[must_use]
    pub fn is_sqlite(&self) -> bool {
        matches!(self, Self::Sqlite { .. })
    }

    /// Closes all connections, after a last checkpoint on SQLite.
    pub async fn close(&self) {
        match self {
            Self::Sqlite { readers, writer } => {
                readers.close().await;
                writer.close().await;
            }
            Self::Postgres(pool) => pool.close().await,
        }
    }
}

/// Begins a transaction that is rolled back when the caller goes away, at whatever moment.
///
/// sqlx counts a transaction as open only after the server's answer: a future that is dropped while it
/// waits for that answer leaves a connection in the pool whose transaction nobody ends. In a task of
/// its own the wait ends, and the transaction that nobody takes is rolled back.
async fn begin_postgres(
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

/// Copies what the write-ahead log holds into the database file, beside running transactions.
pub(crate) async fn checkpoint(pool: &SqlitePool) -> Result<()> {
    pool.execute("PRAGMA wal_checkpoint(PASSIVE)").await?;
    Ok(())
}

/// Options that readers, the writer and the checkpointer of a SQLite file share.
///
/// A checkpoint never happens inside a commit: `wal_autocheckpoint` is off, [`checkpoint`] runs
/// on a connection of its own.
pub(crate) fn sqlite_options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(Duration::from_secs(30))
        .foreign_keys(false)
        .statement_cache_capacity(512)
        .pragma("wal_autocheckpoint", "0")
        .pragma("cache_size", "-16384")
        .pragma("temp_store", "memory")
}

async fn open_sqlite(path: &Path, max_connections: u32) -> Result<Db> {
    let options = sqlite_options(path);
    let writer = SqlitePoolOptions::new()
        .max_connections(1)
        .idle_timeout(None)
        .max_lifetime(None)
        .test_before_acquire(false)
        .after_release(|conn, _| Box::pin(is_out_of_transaction(conn)))
        .connect_with(options.clone())
        .await?;
    let readers = SqlitePoolOptions::new()
        .max_connections(max_connections)
        .idle_timeout(None)
        .max_lifetime(None)
        .test_before_acquire(false)
        // Each has a cache of its own, and behind all of them stands that of the system.
        .connect_with(options.pragma("query_only", "1").pragma("cache_size", "-4096"))
        .await?;
    Ok(Db::Sqlite { readers, writer })
}

/// Whether a connection that comes back can be used again. SQLite rolls back by itself when the disk is full;
/// the driver's ROLLBACK fails then, and it goes on counting a transaction that is none.
async fn is_out_of_transaction(conn: &mut SqliteConnection) -> Result<bool, sqlx::Error> {
    // The rollback of a transaction that was dropped is done before this is answered.
    conn.ping().await?;
    Ok(!conn.is_in_transaction())
}

async fn open_postgres(url: &str, max_connections: u32) -> Result<Db> {
    let options = PgConnectOptions::from_str(url)?.statement_cache_capacity(512);
    // The pool repeats a refused connection until its time is up; one attempt tells what is wrong.
    PgConnection::connect_with(&options).await?.close().await?;
    let pool = PgPoolOptions::new()
        .max_connections(max_connections)
        .acquire_timeout(AWAY_AFTER)
        .test_before_acquire(false)
        .connect_with(options)
        .await?;
    Ok(Db::Postgres(pool))
}

/// A connection, inside or outside a transaction.
#[derive(Debug)]
pub struct Conn(Kind);

#[derive(Debug)]
enum Kind {
    Sqlite(PoolConnection<Sqlite>),
    SqliteTx(Transaction<'static, Sqlite>),
    Postgres(PoolConnection<Postgres>),
    PostgresTx(Transaction<'static, Postgres>),
}

enum Driver<'c> {
    Sqlite(&'c mut SqliteConnection),
    Postgres(&'c mut PgConnection),
}

impl Conn {
    fn driver(&mut self) -> Driver<'_> {
        match &mut self.0 {
            Kind::Sqlite(c) => Driver::Sqlite(c),
            Kind::SqliteTx(c) => Driver::Sqlite(c),
            Kind::Postgres(c) => Driver::Postgres(c),
            Kind::PostgresTx(c) => Driver::Postgres(c),
        }
    }

    /// Makes the transaction's writes durable and visible. Outside a transaction: nothing.
    pub(crate) async fn commit(self) -> Result<()> {
        match self.0 {
            Kind::SqliteTx(tx) => tx.commit().await?,
            Kind::PostgresTx(tx) => tx.commit().await?,
            Kind::Sqlite(_) | Kind::Postgres(_) => {}
        }
        Ok(())
    }
}

/// A value bound to a placeholder.
#[derive(Clone, Debug)]
pub enum Value {
    /// TEXT or its NULL.
    Text(Option<String>),
    /// BIGINT or its NULL.
    Int(Option<i64>),
    /// SMALLINT.
    Small(i16),
    /// BLOB / BYTEA or its NULL.
    Bytes(Option<Vec<u8>>),
    /// For `= ANY($n)` and `<> ALL($n)`.
    Texts(Vec<String>),
    /// For `= ANY($n)` and `<> ALL($n)`.
    Ints(Vec<i64>),
}

macro_rules! value_from {
    ($($from:ty => |$v:ident| $to:expr;)*) => {
        $(impl From<$from> for Value { fn from($v: $from) -> Self { $to } })*
    };
}

value_from! {
    &str => |v| Self::Text(Some(v.to_owned()));
    String => |v| Self::Text(Some(v));
    &String => |v| Self::Text(Some(v.clone()));
    Option<String> => |v| Self::Text(v);
    Option<&str> => |v| Self::Text(v.map(ToOwned::to_owned));
    i64 => |v| Self::Int(Some(v));
    Option<i64> => |v| Self::Int(v);
    i16 => |v| Self::Small(v);
    bool => |v| Self::Small(i16::from(v));
    &[u8] => |v| Self::Bytes(Some(v.to_vec()));
    Vec<u8> => |v| Self::Bytes(Some(v));
    Option<Vec<u8>> => |v| Self::Bytes(v);
    Vec<String> => |v| Self::Texts(v);
    &[String] => |v| Self::Texts(v.to_vec());
    Vec<i64> => |v| Self::Ints(v);
    &[i64] => |v| Self::Ints(v.to_vec());
}

/// A statement with its values.
#[derive(Debug)]
pub struct Statement {
    text: std::borrow::Cow<'static, str>,
    values: Vec<Value>,
}

/// Starts a statement from its text in PostgreSQL's dialect with `$1`, `$2` … placeholders.
#[must_use]
pub fn sql(text: &'static str) -> Statement {
    Statement { text: text.into(), values: Vec::new() }
}

/// Starts a statement from a text that the caller composed of constants; never of outside input.
pub(crate) fn composed(text: String, values: Vec<Value>) -> Statement {
    Statement { text: text.into(), values }
}

macro_rules! bind_all {
    ($query:expr, $values:expr, $list:ident) => {{
        let mut query = $query;
        for value in $values {
            query = match value {
                Value::Text(v) => query.bind(v.map(dialect::encode_text)),
                Value::Int(v) => query.bind(v),
                Value::Small(v) => query.bind(v),
                Value::Bytes(v) => query.bind(v),
                Value::Texts(v) => query.bind(dialect::$list::texts(v)),
                Value::Ints(v) => query.bind(dialect::$list::ints(v)),
            };
        }
        query
    }};
}

impl Statement {
    /// Binds the next placeholder.
    #[must_use]
    pub fn bind(mut self, value: impl Into<Value>) -> Self {
        self.values.push(value.into());
        self
    }

    /// Runs the statement and returns how many rows it changed.
    ///
    /// # Errors
    ///
    /// When the statement fails.
    pub async fn execute(self, conn: &mut Conn) -> Result<u64> {
        Ok(match conn.driver() {
            Driver::Sqlite(c) => {
                let text = AssertSqlSafe(dialect::sqlite(self.text).into_owned()).into_sql_str();
                bind_all!(sqlx::query(text), self.values, json_list)
                    .execute(c)
                    .await?
                    .rows_affected()
            }
            Driver::Postgres(c) => {
                let text = AssertSqlSafe(self.text.into_owned()).into_sql_str();
                bind_all!(sqlx::query(text), self.values, array).execute(c).await?.rows_affected()
            }
        })
    }

    /// All rows of the statement.
    ///
    /// # Errors
    ///
    /// When the statement fails.
    pub async fn all(self, conn: &mut Conn) -> Result<Vec<Row>> {
        self.each(conn, Ok).await
    }

    /// All rows of the statement, each made into a `T`.
    ///
    /// # Errors
    ///
    /// When the statement fails or a row is not what `row` expects.
    pub async fn map<T>(self, conn: &mut Conn, row: impl Fn(&Row) -> Result<T>) -> Result<Vec<T>> {
        self.each(conn, |found| row(&found)).await
    }

    /// Makes each row into a `T` as it comes: a row takes several times the memory of what it says.
    async fn each<T>(self, conn: &mut Conn, row: impl Fn(Row) -> Result<T>) -> Result<Vec<T>> {
        let mut made = Vec::new();
        match conn.driver() {
            Driver::Sqlite(c) => {
                let text = AssertSqlSafe(dialect::sqlite(self.text).into_owned()).into_sql_str();
                let mut rows = bind_all!(sqlx::query(text), self.values, json_list).fetch(c);
                while let Some(found) = rows.try_next().await? {
                    made.push(row(Row::Sqlite(found))?);
                }
            }
            Driver::Postgres(c) => {
                let text = AssertSqlSafe(self.text.into_owned()).into_sql_str();
                let mut rows = bind_all!(sqlx::query(text), self.values, array).fetch(c);
                while let Some(found) = rows.try_next().await? {
                    made.push(row(Row::Postgres(found))?);
                }
            }
        }
        Ok(made)
    }

    /// The first row of the statement, if there is one.
    ///
    /// # Errors
    ///
    /// When the statement fails.
    pub async fn optional(self, conn: &mut Conn) -> Result<Option<Row>> {
        Ok(self.all(conn).await?.into_iter().next())
    }
}

/// A result row.
#[derive(Debug)]
pub enum Row {
    /// Of SQLite.
    Sqlite(SqliteRow),
    /// Of PostgreSQL.
    Postgres(PgRow),
}

impl Row {
    /// Column `index` (from 0) as a `T`: `i64` of BIGINT, `i16` of SMALLINT, `String` of TEXT,
    /// `Vec<u8>` of BLOB, `bool` of a SMALLINT flag, and their `Option`s.
    ///
    /// # Errors
    ///
    /// When the column does not exist or holds another type.
    pub fn get<T: FromColumn>(&self, index: usize) -> Result<T> {
        T::from_column(self, index)
    }

    /// How many columns the row has.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Sqlite(row) => row.columns().iter().map(|c| c.ordinal() + 1).max().unwrap_or(0),
            Self::Postgres(row) => row.columns().len(),
        }
    }

    /// Whether the row has no column.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// What a column can be read as.
pub trait FromColumn: Sized {
    /// Reads column `index` of `row`.
    ///
    /// # Errors
    ///
    /// When the column does not exist or holds another type.
    fn from_column(row: &Row, index: usize) -> Result<Self>;
}

macro_rules! from_column {
    ($($t:ty),*) => { $(
        impl FromColumn for $t {
            fn from_column(row: &Row, index: usize) -> Result<Self> {
                Ok(match row {
                    Row::Sqlite(row) => row.try_get(index)?,
                    Row::Postgres(row) => row.try_get(index)?,
                })
            }
        }
    )* };
}

from_column!(i64, Option<i64>, i16, Option<i16>, Vec<u8>, Option<Vec<u8>>);

impl FromColumn for Option<String> {
    fn from_column(row: &Row, index: usize) -> Result<Self> {
        let text: Self = match row {
            Row::Sqlite(row) => row.try_get(index)?,
            Row::Postgres(row) => row.try_get(index)?,
        };
        Ok(text.map(dialect::decode_text))
    }
}

impl FromColumn for String {
    fn from_column(row: &Row, index: usize) -> Result<Self> {
        Option::<Self>::from_column(row, index)?
            .ok_or_else(|| DbError::Corrupt(format!("NULL in column {index}")))
    }
}

impl FromColumn for bool {
    fn from_column(row: &Row, index: usize) -> Result<Self> {
        Ok(i16::from_column(row, index)? != 0)
    }
}
