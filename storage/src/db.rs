//! Connections, statements and rows of whichever database the deployment runs on.
//!
//! One statement text serves both: PostgreSQL's, which [`crate::dialect`] turns into SQLite's where
//! they differ. Values cross this boundary as `i64`, `i16`, text, bytes and lists.

mod pools;
mod postgres;
mod row;
pub(crate) mod sqlite;

use std::{borrow::Cow, rc::Rc, sync::Arc};

use futures_util::TryStreamExt as _;
use sqlx::{
    AssertSqlSafe, Postgres, SqlSafeStr as _, SqlStr, Transaction,
    pool::PoolConnection,
    postgres::{PgArguments, PgRow},
    query::Query,
};
use tokio::{
    runtime::{Handle, RuntimeFlavor},
    task::{block_in_place, coop::consume_budget},
};

use self::sqlite::{Lease, Stepped};
pub(crate) use self::{pools::Pools, postgres::Session};
pub use self::{
    pools::{Connections, Db},
    row::{FromColumn, KeptRow, Row},
};
use crate::{
    dialect::{self, Singles},
    measures::Measures,
    slow::Slow,
};

/// A database error. Callers cannot act on it: it is logged and answered as an internal error.
#[derive(Debug, thiserror::Error)]
pub enum DbError {
    /// The error of PostgreSQL, or of its driver.
    #[error(transparent)]
    Sql(#[from] sqlx::Error),
    /// SQLite's error.
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
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

/// A connection, inside or outside a transaction.
#[derive(Debug)]
pub struct Conn {
    kind: Kind,
    measures: Arc<Measures>,
}

#[derive(Debug)]
enum Kind {
    Sqlite(Lease),
    SqliteTx(Lease),
    Postgres(PoolConnection<Postgres>),
    PostgresTx(Transaction<'static, Postgres>),
}

enum Driver<'c> {
    Sqlite(&'c mut Lease),
    Postgres(&'c mut sqlx::PgConnection),
}

impl Conn {
    /// Who runs statements here, and who notices those that take long.
    fn driver(&mut self) -> (Driver<'_>, &Slow) {
        let driver = match &mut self.kind {
            Kind::Sqlite(c) | Kind::SqliteTx(c) => Driver::Sqlite(c),
            Kind::Postgres(c) => Driver::Postgres(c),
            Kind::PostgresTx(c) => Driver::Postgres(c),
        };
        (driver, &self.measures.slow)
    }

    /// Makes the transaction's writes durable and visible. Outside a transaction: nothing.
    pub(crate) async fn commit(self) -> Result<()> {
        match self.kind {
            Kind::SqliteTx(tx) => tx.commit()?,
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

impl Value {
    /// The only value of a list.
    fn only(&mut self) -> Option<Self> {
        match self {
            Self::Texts(values) if values.len() == 1 => values.pop().map(Self::from),
            Self::Ints(values) if values.len() == 1 => values.pop().map(Self::from),
            _ => None,
        }
    }
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
    text: Cow<'static, str>,
    values: Vec<Value>,
    long: bool,
}

/// Starts a statement from its text in PostgreSQL's dialect with `$1`, `$2` … placeholders.
#[must_use]
pub fn sql(text: &'static str) -> Statement {
    Statement { text: text.into(), values: Vec::new(), long: false }
}

/// Starts a statement from a text that the caller composed of constants; never of outside input.
pub(crate) fn composed(text: impl Into<Cow<'static, str>>, values: Vec<Value>) -> Statement {
    Statement { text: text.into(), values, long: false }
}

impl Statement {
    /// Binds the next placeholder.
    #[must_use]
    pub fn bind(mut self, value: impl Into<Value>) -> Self {
        self.values.push(value.into());
        self
    }

    /// Says that the statement may look at very many rows: nobody else waits for it on this thread.
    #[must_use]
    pub(crate) fn long(self) -> Self {
        Self { long: true, ..self }
    }

    /// Runs the statement and returns how many rows it changed.
    ///
    /// # Errors
    ///
    /// When the statement fails.
    pub async fn execute(mut self, conn: &mut Conn) -> Result<u64> {
        tracing::trace!(text = &*self.text);
        let (driver, slow) = conn.driver();
        let mut watch = slow.watch(&self.text);
        let changed = match driver {
            Driver::Sqlite(lease) => {
                consume_budget().await;
                let singles = take_singles(&mut self.values);
                let text = self.for_sqlite(singles);
                aside(self.long, || lease.execute(&text, self.values))?
            }
            Driver::Postgres(c) => {
                let query = bind_postgres(sqlx::query(self.safe()), self.values);
                // In a box, or whoever asks SQLite would carry the room that this takes.
                Box::pin(query.execute(c)).await?.rows_affected()
            }
        };
        watch.succeeded(changed);
        Ok(changed)
    }

    /// All rows of the statement.
    ///
    /// # Errors
    ///
    /// When the statement fails.
    pub async fn all(self, conn: &mut Conn) -> Result<Vec<KeptRow>> {
        let of_sqlite = |at: Stepped<'_>| Ok(KeptRow::Sqlite(at.kept()?));
        self.each(conn, of_sqlite, |found| Ok(KeptRow::Postgres(found))).await
    }

    /// All rows of the statement, each made into a `T`.
    ///
    /// # Errors
    ///
    /// When the statement fails or a row is not what `row` expects.
    pub async fn map<T>(
        self,
        conn: &mut Conn,
        row: impl Fn(&Row<'_>) -> Result<T>,
    ) -> Result<Vec<T>> {
        let of_sqlite = |at: Stepped<'_>| row(&Row::Stepped(at));
        self.each(conn, of_sqlite, |found| row(&Row::Postgres(&found))).await
    }

    fn for_sqlite(&self, singles: Singles) -> Rc<str> {
        match &self.text {
            Cow::Borrowed(text) => dialect::sqlite_once(text, singles),
            Cow::Owned(text) => dialect::sqlite(text, singles).into(),
        }
    }

    /// Makes each row into a `T` as it comes: a row takes several times the memory of what it says.
    async fn each<T>(
        mut self,
        conn: &mut Conn,
        of_sqlite: impl Fn(Stepped<'_>) -> Result<T>,
        of_postgres: impl Fn(PgRow) -> Result<T>,
    ) -> Result<Vec<T>> {
        tracing::trace!(text = &*self.text);
        let (driver, slow) = conn.driver();
        let mut watch = slow.watch(&self.text);
        let made = match driver {
            Driver::Sqlite(lease) => {
                consume_budget().await;
                let singles = take_singles(&mut self.values);
                let text = self.for_sqlite(singles);
                aside(self.long, || lease.each(&text, self.values, of_sqlite))?
            }
            Driver::Postgres(c) => {
                let query = bind_postgres(sqlx::query(self.safe()), self.values);
                let (mut rows, mut made) = (query.fetch(c), Vec::new());
                while let Some(found) = rows.try_next().await? {
                    made.push(of_postgres(found)?);
                }
                made
            }
        };
        watch.succeeded(u64::try_from(made.len()).unwrap_or(u64::MAX));
        Ok(made)
    }

    /// The text, which is never of outside input.
    fn safe(&self) -> SqlStr {
        match &self.text {
            Cow::Borrowed(text) => text.into_sql_str(),
            Cow::Owned(text) => AssertSqlSafe(text.clone()).into_sql_str(),
        }
    }

    /// The first row of the statement, if there is one.
    ///
    /// # Errors
    ///
    /// When the statement fails.
    pub async fn optional(self, conn: &mut Conn) -> Result<Option<KeptRow>> {
        Ok(self.all(conn).await?.into_iter().next())
    }
}

/// Makes lists of one value that value, as SQLite's text then has it, and says which.
fn take_singles(values: &mut [Value]) -> Singles {
    let mut singles = Singles::default();
    for (index, value) in values.iter_mut().enumerate().take(Singles::MOST) {
        if let Some(only) = value.only() {
            *value = only;
            singles.note(index);
        }
    }
    singles
}

/// Runs what SQLite does here and now; if it is long, the other tasks of this thread go to another one.
fn aside<T>(long: bool, work: impl FnOnce() -> T) -> T {
    let threads = || Handle::try_current().map(|handle| handle.runtime_flavor());
    if long && matches!(threads(), Ok(RuntimeFlavor::MultiThread)) {
        return block_in_place(work);
    }
    work()
}

/// Binds the values of a statement for PostgreSQL.
fn bind_postgres(
    mut query: Query<'static, Postgres, PgArguments>,
    values: Vec<Value>,
) -> Query<'static, Postgres, PgArguments> {
    for value in values {
        query = match value {
            Value::Text(v) => query.bind(v.map(dialect::encode_text)),
            Value::Int(v) => query.bind(v),
            Value::Small(v) => query.bind(v),
            Value::Bytes(v) => query.bind(v),
            Value::Texts(v) => query.bind(dialect::array_of_texts(v)),
            Value::Ints(v) => query.bind(v),
        };
    }
    query
}
