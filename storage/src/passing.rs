//! Which failures pass: the database is away, or has no room. The same may succeed later, without anybody
//! changing anything here.

use crate::db::DbError;

/// Error codes of SQLite by their lowest byte, <https://sqlite.org/rescode.html>: BUSY, LOCKED, IOERR, FULL,
/// CANTOPEN.
const SQLITE: [i32; 5] = [5, 6, 10, 13, 14];

/// Classes of SQLSTATE, <https://www.postgresql.org/docs/current/errcodes-appendix.html>: no connection, no
/// resources, an operator intervened, an error of the system.
const POSTGRES: [&str; 4] = ["08", "53", "57", "58"];

/// `cannot_connect_now` and its like are about the server; this one is about a statement that was too slow.
const QUERY_CANCELED: &str = "57014";

impl DbError {
    /// Whether the database is away or has no room: what was asked may succeed later.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Sql(error) => passes(error),
            Self::Sqlite(error) => sqlite_passes(error),
            Self::Unavailable(_) => true,
            Self::Migration(_) | Self::Corrupt(_) => false,
        }
    }
}

fn passes(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed => true,
        sqlx::Error::Database(error) => error.code().is_some_and(|code| is_passing_state(&code)),
        _ => false,
    }
}

fn is_passing_state(code: &str) -> bool {
    code != QUERY_CANCELED && POSTGRES.iter().any(|class| code.starts_with(class))
}

fn sqlite_passes(error: &rusqlite::Error) -> bool {
    error.sqlite_error().is_some_and(|error| is_passing_code(error.extended_code))
}

fn is_passing_code(code: i32) -> bool {
    SQLITE.contains(&(code & 0xff))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        db::{Db, sql},
        test_support::TempDatabase,
    };

    #[tokio::test]
    async fn a_disk_that_was_full_is_written_again() {
        let temp = TempDatabase::sqlite().unwrap();
        let db = Db::open(&temp.url, 1).await.unwrap();
        let mut conn = db.write().await.unwrap();
        sql("CREATE TABLE t (x TEXT NOT NULL)").execute(&mut conn).await.unwrap();
        conn.commit().await.unwrap();
        let long = || sql("INSERT INTO t VALUES ($1)").bind("x".repeat(100_000));
        let mut conn = db.write().await.unwrap();
        sql("PRAGMA max_page_count = 4").execute(&mut conn).await.unwrap();
        let error = long().execute(&mut conn).await.unwrap_err();
        assert!(error.is_passing(), "{error}");
        drop(conn);
        let mut conn = db.write().await.unwrap();
        sql("PRAGMA max_page_count = 1000").execute(&mut conn).await.unwrap();
        long().execute(&mut conn).await.unwrap();
        conn.commit().await.unwrap();
        db.close().await;
    }

    #[test]
    fn a_full_or_absent_database_passes_and_a_wrong_statement_does_not() {
        for (code, passes) in [
            ("57P01", true),
            ("57P03", true),
            ("53100", true),
            ("08006", true),
            ("57014", false),
            ("23505", false),
            ("42601", false),
        ] {
            assert_eq!(is_passing_state(code), passes, "{code}");
        }
        for (code, passes) in
            [(13, true), (778, true), (5, true), (1, false), (1555, false), (11, false)]
        {
            assert_eq!(is_passing_code(code), passes, "{code}");
        }
        assert!(DbError::from(sqlx::Error::PoolTimedOut).is_passing());
        assert!(!DbError::from(sqlx::Error::RowNotFound).is_passing());
        assert!(!DbError::Corrupt(String::new()).is_passing());
    }
}
