//! SQLite: connections of one file, and statements that run where they are called.
//!
//! A statement on pages that are in memory takes a few microseconds, less than waking a thread for it, so it
//! runs on the caller's thread; what may take longer is marked by [`super::Statement::long`]. Commits, which
//! wait for the disk, happen on the writer's thread.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use rusqlite::{
    Connection, OpenFlags, Row,
    config::DbConfig,
    types::{Value as Column, ValueRef},
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

use super::{Connections, DbError, Result, Value};
use crate::{dialect, slow::Slow};

/// How long another process, or a reader that holds a connection, is waited for.
const BUSY: Duration = Duration::from_secs(30);

/// What the write-ahead log keeps of the disk when it begins anew, in bytes.
const LARGEST_IDLE_LOG: i64 = 64 << 20;

/// How many prepared statements each connection keeps.
const PREPARED: usize = 512;

/// What the connections of a pool may do.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Role {
    /// Writes, or takes in the write-ahead log.
    Writer,
    /// `query_only`.
    Reader,
    /// Copies the file, without changing a setting of it.
    Copier,
    /// Looks at a file that nobody writes to.
    Examiner,
}

/// A bounded number of connections to one file.
#[derive(Clone, Debug)]
pub(crate) struct Pool(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    path: PathBuf,
    role: Role,
    size: u32,
    idle: Mutex<Vec<Connection>>,
    places: Arc<Semaphore>,
}

impl Pool {
    /// Opens the first connection; the others, `size` in all, when they are needed.
    pub(crate) fn open(path: &Path, size: u32, role: Role) -> Result<Self> {
        let first = connect(path, role)?;
        let places = Arc::new(Semaphore::new(usize::try_from(size).unwrap_or(usize::MAX)));
        let idle = Mutex::new(vec![first]);
        Ok(Self(Arc::new(Shared { path: path.to_owned(), role, size, idle, places })))
    }

    /// The file.
    pub(crate) fn path(&self) -> &Path {
        &self.0.path
    }

    /// How many connections there are, and how many of them are on loan.
    pub(super) fn connections(&self) -> Connections {
        let most = usize::try_from(self.0.size).unwrap_or(usize::MAX);
        let idle = self.0.idle.lock().unwrap_or_else(PoisonError::into_inner).len();
        Connections { used: most.saturating_sub(self.0.places.available_permits()), idle, most }
    }

    /// A connection, which goes back when it is dropped.
    pub(crate) async fn acquire(&self) -> Result<Lease> {
        let place = match Arc::clone(&self.0.places).try_acquire_owned() {
            Ok(place) => place,
            Err(_) => timeout(BUSY, Arc::clone(&self.0.places).acquire_owned())
                .await
                .map_err(|_| DbError::Unavailable("no connection became free".to_owned()))?
                .map_err(|_| DbError::Unavailable("the database was closed".to_owned()))?,
        };
        let idle = self.0.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let conn = match idle {
            Some(conn) => conn,
            None => connect(&self.0.path, self.0.role)?,
        };
        Ok(Lease { conn: Some(conn), shared: Arc::clone(&self.0), _place: place })
    }

    /// A connection inside a transaction that `statement` begins, which waits while another process writes.
    pub(crate) async fn begin(&self, statement: &str, slow: &Slow) -> Result<Lease> {
        let lease = self.acquire().await?;
        let mut watch = slow.watch(statement);
        run(lease.conn()?, statement)?;
        watch.succeeded(0);
        drop(watch);
        Ok(lease)
    }

    /// Closes the connections, when the last of them has come back.
    pub(crate) async fn close(&self) {
        let _all = self.0.places.acquire_many(self.0.size).await;
        self.0.places.close();
        self.0.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

/// A connection on loan.
#[derive(Debug)]
pub(crate) struct Lease {
    conn: Option<Connection>,
    shared: Arc<Shared>,
    _place: OwnedSemaphorePermit,
}

impl Lease {
    fn conn(&self) -> Result<&Connection> {
        self.conn.as_ref().ok_or_else(|| DbError::Unavailable("the connection is gone".to_owned()))
    }

    /// Ends the transaction; its writes are on disk then.
    pub(crate) fn commit(self) -> Result<()> {
        Ok(run(self.conn()?, "COMMIT")?)
    }

    /// Copies what the write-ahead log holds into the file, beside running transactions. Returns how many pages the
    /// log has.
    pub(crate) fn checkpoint(&self) -> Result<i64> {
        let row = |row: &Row<'_>| row.get("log");
        Ok(self.conn()?.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], row)?)
    }

    /// The same, so that the next transaction begins the log anew, unless somebody reads in it for longer than
    /// `patience`. Until then nobody can write. Returns how many pages are still in it.
    pub(crate) fn begin_log_anew(&self, patience: Duration) -> Result<i64> {
        let conn = self.conn()?;
        conn.busy_timeout(patience)?;
        let row = |row: &Row<'_>| Ok((row.get("busy")?, row.get("log")?));
        let outcome = conn.query_row("PRAGMA wal_checkpoint(RESTART)", [], row);
        conn.busy_timeout(BUSY)?;
        let (is_read, pages): (bool, i64) = outcome?;
        Ok(if is_read { pages } else { 0 })
    }

    /// Runs a statement to its end; returns how many rows it changed.
    pub(super) fn execute(&self, text: &str, values: Vec<Value>) -> Result<u64> {
        let conn = self.conn()?;
        let mut statement = conn.prepare_cached(text)?;
        bind(&mut statement, values)?;
        let mut rows = statement.raw_query();
        while rows.next()?.is_some() {}
        drop(rows);
        Ok(if statement.readonly() { 0 } else { conn.changes() })
    }

    /// Hands the rows of a statement to `row`, one after the other.
    pub(super) fn each<T>(
        &self,
        text: &str,
        values: Vec<Value>,
        row: impl Fn(Stepped<'_>) -> Result<T>,
    ) -> Result<Vec<T>> {
        let mut statement = self.conn()?.prepare_cached(text)?;
        bind(&mut statement, values)?;
        let mut rows = statement.raw_query();
        let mut made = Vec::new();
        while let Some(found) = rows.next()? {
            made.push(row(Stepped(found))?);
        }
        Ok(made)
    }
}

impl Drop for Lease {
    /// Rolls back what was not committed. A connection on which that fails is closed.
    fn drop(&mut self) {
        let Some(conn) = self.conn.take() else { return };
        // SQLite has rolled back by itself when the disk was full.
        if conn.is_autocommit() || run(&conn, "ROLLBACK").is_ok() {
            self.shared.idle.lock().unwrap_or_else(PoisonError::into_inner).push(conn);
        }
    }
}

/// Runs a statement that has no values and no rows.
fn run(conn: &Connection, statement: &str) -> rusqlite::Result<()> {
    conn.prepare_cached(statement)?.raw_execute().map(|_| ())
}

/// The row at which a statement stands.
#[derive(Clone, Copy, Debug)]
pub struct Stepped<'r>(&'r Row<'r>);

impl Stepped<'_> {
    /// What the row says, for when the statement has gone on.
    pub(super) fn kept(self) -> Result<Kept> {
        let columns = (0..self.len()).map(|index| self.0.get(index));
        Ok(Kept(columns.collect::<Result<_, _>>()?))
    }

    pub(super) fn len(self) -> usize {
        self.0.as_ref().column_count()
    }

    pub(super) fn column(&self, index: usize) -> Result<ValueRef<'_>> {
        Ok(self.0.get_ref(index)?)
    }
}

/// The columns of a row.
#[derive(Debug)]
pub struct Kept(Vec<Column>);

impl Kept {
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn column(&self, index: usize) -> Result<ValueRef<'_>> {
        let column = self.0.get(index).map(ValueRef::from);
        column.ok_or_else(|| DbError::Corrupt(format!("no column {index}")))
    }
}

pub(super) fn integer(column: ValueRef<'_>, index: usize) -> Result<Option<i64>> {
    match column {
        ValueRef::Null => Ok(None),
        ValueRef::Integer(value) => Ok(Some(value)),
        other => Err(unexpected(index, other)),
    }
}

pub(super) fn text(column: ValueRef<'_>, index: usize) -> Result<Option<String>> {
    match column {
        ValueRef::Null => Ok(None),
        ValueRef::Text(value) => {
            let text = std::str::from_utf8(value);
            let text =
                text.map_err(|error| DbError::Corrupt(format!("column {index}: {error}")))?;
            Ok(Some(text.to_owned()))
        }
        other => Err(unexpected(index, other)),
    }
}

pub(super) fn bytes(column: ValueRef<'_>, index: usize) -> Result<Option<Vec<u8>>> {
    match column {
        ValueRef::Null => Ok(None),
        ValueRef::Blob(value) => Ok(Some(value.to_vec())),
        other => Err(unexpected(index, other)),
    }
}

fn unexpected(index: usize, column: ValueRef<'_>) -> DbError {
    DbError::Corrupt(format!("{} in column {index}", column.data_type()))
}

fn bind(statement: &mut rusqlite::Statement<'_>, values: Vec<Value>) -> Result<()> {
    for (index, value) in values.into_iter().enumerate() {
        let place = index + 1;
        match value {
            Value::Text(v) => statement.raw_bind_parameter(place, v.map(dialect::encode_text)),
            Value::Int(v) => statement.raw_bind_parameter(place, v),
            Value::Small(v) => statement.raw_bind_parameter(place, v),
            Value::Bytes(v) => statement.raw_bind_parameter(place, v),
            Value::Texts(v) => statement.raw_bind_parameter(place, dialect::json_list::texts(v)),
            Value::Ints(v) => statement.raw_bind_parameter(place, dialect::json_list::ints(v)),
        }?;
    }
    Ok(())
}

/// A checkpoint never happens inside a commit: `wal_autocheckpoint` is off, and
/// [`Checkpoints`](crate::checkpoints::Checkpoints) sees to it.
fn connect(path: &Path, role: Role) -> Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_URI;
    let conn = match role {
        Role::Examiner => {
            Connection::open_with_flags(frozen(path)?, flags | OpenFlags::SQLITE_OPEN_READ_ONLY)?
        }
        Role::Copier => {
            Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_READ_WRITE)?
        }
        Role::Writer | Role::Reader => Connection::open_with_flags(
            path,
            flags | OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE,
        )?,
    };
    conn.busy_timeout(BUSY)?;
    // Without, a statement with a `LIMIT` is compiled anew for each value that is bound to it.
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    conn.set_prepared_statement_cache_capacity(PREPARED);
    if let Role::Writer | Role::Reader = role {
        conn.execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = OFF; \
             PRAGMA wal_autocheckpoint = 0; PRAGMA temp_store = MEMORY; PRAGMA cache_size = -16384",
        )?;
        conn.pragma_update(None, "journal_size_limit", LARGEST_IDLE_LOG)?;
    }
    if let Role::Reader = role {
        // Each has a cache of its own, and behind all of them stands that of the system.
        conn.execute_batch("PRAGMA query_only = 1; PRAGMA cache_size = -4096")?;
    }
    Ok(conn)
}

/// The address of a file that nobody writes to, <https://sqlite.org/uri.html>.
fn frozen(path: &Path) -> Result<String> {
    let path = path.to_str().ok_or_else(|| DbError::Unavailable("not UTF-8".to_owned()))?;
    let path = path.replace('%', "%25").replace('?', "%3f").replace('#', "%23");
    Ok(format!("file:{path}?immutable=1"))
}

#[cfg(test)]
mod tests {
    use rusqlite::StatementStatus;

    use super::*;

    #[test]
    fn a_limit_that_is_bound_does_not_have_the_statement_compiled_anew() {
        let dir = tempfile::tempdir().unwrap();
        let conn = connect(&dir.path().join("t.db"), Role::Writer).unwrap();
        conn.execute_batch("CREATE TABLE t (a INTEGER PRIMARY KEY)").unwrap();
        let mut statement = conn.prepare("SELECT a FROM t ORDER BY a LIMIT ?1").unwrap();
        for limit in [1, 2, 3] {
            assert!(statement.query([limit]).unwrap().next().unwrap().is_none());
        }
        assert_eq!(statement.get_status(StatementStatus::RePrepare), 0);
    }
}
