//! Taking SQLite's write-ahead log into the file, and beginning the log anew.
//!
//! What is committed stands in the log first, and is copied into the file beside running transactions. SQLite begins
//! the log anew only when all of it is copied and nobody reads in it. On a busy server there is always a commit that
//! came while the file was written, so without a moment in which nothing is written the log would grow for ever:
//! <https://sqlite.org/wal.html#avoiding_excessively_large_wal_files>.

use std::time::Duration;

use tokio::task::spawn_blocking;

use crate::db::{
    Db, DbError, Pools, Result,
    sqlite::{Lease, Pool, Role},
};

/// How often the log is taken in.
const EVERY: Duration = Duration::from_secs(2);

/// How many pages of the log (32 MiB) are enough to have the writer wait until it begins anew.
const LONG: i64 = 8_192;

/// How long the writer waits for those who still read in the log. Whoever reads for longer keeps it going.
const PATIENCE: Duration = Duration::from_millis(50);

/// Takes in the log of one database.
#[derive(Clone, Debug)]
pub(crate) struct Checkpoints {
    /// A connection for this alone.
    own: Pool,
    /// The one that writes; whoever has it knows that nobody else does.
    writer: Pool,
    db: Db,
}

impl Checkpoints {
    /// Those of a database; PostgreSQL does without.
    ///
    /// # Errors
    ///
    /// When the file cannot be opened.
    pub(crate) fn of(db: &Db) -> Result<Option<Self>> {
        let Pools::Sqlite { writer, .. } = db.pools() else { return Ok(None) };
        let own = Pool::open(writer.path(), 1, Role::Writer)?;
        Ok(Some(Self { own, writer: writer.clone(), db: db.clone() }))
    }

    /// Does it again and again.
    pub(crate) async fn run(self) {
        let mut ticks = tokio::time::interval(EVERY);
        let mut long = LONG;
        loop {
            ticks.tick().await;
            match self.once(long).await {
                Ok(pages) => long = next_time(long, pages),
                Err(error) => tracing::warn!(%error, "the write-ahead log could not be taken in"),
            }
        }
    }

    /// Takes in what there is, and has a log of `long` pages begun anew. Returns how many pages it has then.
    async fn once(&self, long: i64) -> Result<i64> {
        let mut pages = on(&self.own, Lease::checkpoint).await?;
        if pages >= long {
            // Only what was written since is left to be copied, so this is short.
            pages = on(&self.writer, |lease| lease.begin_log_anew(PATIENCE)).await?;
        }
        self.db.measures().log_pages.set(pages);
        Ok(pages)
    }

    /// Closes its connection.
    pub(crate) async fn close(&self) {
        self.own.close().await;
    }
}

/// How many pages are long the next time. Whoever reads for long, as a backup does, is not waited for each time.
fn next_time(long: i64, pages: i64) -> i64 {
    match pages {
        0 => LONG,
        _ if pages >= long => pages.saturating_mul(2),
        _ => long,
    }
}

/// Does something that waits for the disk with a connection of the pool.
async fn on<T: Send + 'static>(
    pool: &Pool,
    work: impl FnOnce(&Lease) -> Result<T> + Send + 'static,
) -> Result<T> {
    let lease = pool.acquire().await?;
    let done = spawn_blocking(move || work(&lease)).await;
    done.map_err(|error| DbError::Unavailable(error.to_string()))?
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::sql;

    async fn write(db: &Db) {
        let mut conn = db.write().await.unwrap();
        sql("INSERT INTO t (a) VALUES ('a')").execute(&mut conn).await.unwrap();
        conn.commit().await.unwrap();
    }

    /// A database with a table and `commits` commits, and who takes in its log.
    async fn filled(dir: &tempfile::TempDir, commits: usize) -> (Db, Checkpoints) {
        let db = Db::open(&format!("sqlite:{}", dir.path().join("t.db").display()), 2).await;
        let db = db.unwrap();
        let mut conn = db.write().await.unwrap();
        sql("CREATE TABLE t (a TEXT)").execute(&mut conn).await.unwrap();
        conn.commit().await.unwrap();
        for _ in 0..commits {
            write(&db).await;
        }
        let checkpoints = Checkpoints::of(&db).unwrap().unwrap();
        (db, checkpoints)
    }

    fn pages(checkpoints: &Checkpoints) -> i64 {
        checkpoints.db.measures().log_pages.get()
    }

    #[tokio::test]
    async fn a_long_log_begins_anew_though_somebody_always_writes() {
        let dir = tempfile::tempdir().unwrap();
        let (db, checkpoints) = filled(&dir, 0).await;
        let writing = async {
            loop {
                write(&db).await;
                tokio::task::yield_now().await;
            }
        };
        let taking_in = async {
            while pages(&checkpoints) < 100 {
                checkpoints.once(i64::MAX).await.unwrap();
            }
            checkpoints.once(100).await.unwrap();
        };
        tokio::select! {
            () = taking_in => assert_eq!(pages(&checkpoints), 0),
            () = writing => unreachable!("it never ends"),
        }
    }

    #[test]
    fn a_log_that_is_read_is_left_alone_until_it_is_twice_as_long() {
        let mut long = LONG;
        for (pages, expected) in
            [(5, LONG), (LONG, 2 * LONG), (2 * LONG - 1, 2 * LONG), (2 * LONG, 4 * LONG), (0, LONG)]
        {
            long = next_time(long, pages);
            assert_eq!(long, expected, "{pages}");
        }
    }

    #[tokio::test]
    async fn who_reads_for_long_keeps_the_log_and_nobody_from_writing() {
        let dir = tempfile::tempdir().unwrap();
        let (db, checkpoints) = filled(&dir, 30).await;
        let mut reads = db.snapshot().await.unwrap();
        let count = async |conn: &mut _| -> i64 {
            let row = sql("SELECT COUNT(*) FROM t").optional(conn).await.unwrap().unwrap();
            row.get(0).unwrap()
        };
        assert_eq!(count(&mut reads).await, 30);
        write(&db).await;
        checkpoints.once(1).await.unwrap();
        write(&db).await;
        assert_eq!(count(&mut reads).await, 30, "it is one moment that is read");
        drop(reads);
        assert_eq!(count(&mut db.read().await.unwrap()).await, 32);
        checkpoints.once(1).await.unwrap();
        write(&db).await;
        checkpoints.once(i64::MAX).await.unwrap();
        assert!(pages(&checkpoints) < 5, "{}", pages(&checkpoints));
    }
}
