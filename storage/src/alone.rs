//! One process per database: two would not hear of each other's sessions and memberships in time, and
//! would send everything to other servers twice.

use std::{
    fs::{File, TryLockError},
    time::Duration,
};

use tokio::{
    task::JoinHandle,
    time::{Instant, sleep},
};

use crate::db::{DbError, Result, Session};

/// How long a process that was killed may be waited for: its database server notices soon.
const FORMER_LIMIT: Duration = Duration::from_secs(3);
/// How often it is looked whether the former process is gone.
const FORMER_POLL: Duration = Duration::from_millis(50);
/// How often the session is looked after that holds the lock.
const CHECK_EVERY: Duration = Duration::from_secs(10);
/// The pause between attempts to get the lock back.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// The right to be the only process on a database, as long as this value lives.
#[derive(Debug)]
pub(crate) enum Alone {
    /// A lock on a file beside the SQLite file.
    File(File),
    /// A task that keeps a session of PostgreSQL, which has the lock.
    Session(JoinHandle<()>),
}

impl Alone {
    /// Takes the right, or says that another process has it.
    pub(crate) async fn take(url: &str) -> Result<Self> {
        match url.strip_prefix("sqlite:") {
            Some(path) => lock_file(&format!("{path}.lock")).map(Self::File),
            None => Ok(Self::Session(tokio::spawn(keep(url.to_owned(), session(url).await?)))),
        }
    }

    /// Gives the right up.
    pub(crate) async fn end(self) {
        match self {
            Self::File(file) => {
                if let Err(error) = file.unlock() {
                    tracing::warn!(%error, "the lock on the database file could not be given up");
                }
            }
            Self::Session(task) => {
                task.abort();
                let _ = task.await;
            }
        }
    }
}

fn lock_file(path: &str) -> Result<File> {
    let unavailable = |reason: String| DbError::Unavailable(format!("{path}: {reason}"));
    let file = File::create(path).map_err(|error| unavailable(error.to_string()))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            Err(unavailable("another process has the database".into()))
        }
        Err(TryLockError::Error(error)) => Err(unavailable(error.to_string())),
    }
}

async fn session(url: &str) -> Result<Session> {
    let begun = Instant::now();
    loop {
        if let Some(session) = Session::alone(url).await? {
            return Ok(session);
        }
        if begun.elapsed() > FORMER_LIMIT {
            let reason = "another process works on this database; one deployment is one process";
            return Err(DbError::Unavailable(reason.to_owned()));
        }
        sleep(FORMER_POLL).await;
    }
}

/// Keeps the session. A server that was restarted has forgotten the lock: it is taken again.
async fn keep(url: String, mut session: Session) {
    loop {
        sleep(CHECK_EVERY).await;
        while let Err(error) = session.check().await {
            tracing::warn!(%error, "the lock on the database is lost, taking it again");
            sleep(AGAIN_AFTER).await;
            match Session::alone(&url).await {
                Ok(Some(new)) => session = new,
                Ok(None) => tracing::error!(
                    "another process works on this database too: stop one of them, or other servers \
                     get everything twice"
                ),
                Err(_) => {}
            }
        }
    }
}
