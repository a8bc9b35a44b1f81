//! What is counted while a database works. Whoever does something counts it where it is decided.

use crate::{
    measure::{Counter, Gauge, Histogram, Longest},
    slow::Slow,
};

/// All counts of a database.
#[derive(Debug, Default)]
pub struct Measures {
    /// What the writer does.
    pub writer: Writing,
    /// Waiting for connections.
    pub connections: Waiting,
    /// What took long.
    pub slow: Slow,
    /// Pages of SQLite's write-ahead log when it was looked at last.
    pub log_pages: Gauge,
}

/// What the writer does with the changes that it is handed.
#[derive(Debug)]
pub struct Writing {
    /// Changes that were handed over and are in no transaction yet.
    pub queued: Gauge,
    /// Changes that were written.
    pub committed: Counter,
    /// Changes that were not, because what they were built upon had changed.
    pub conflicts: Counter,
    /// Changes that were not, because what they claimed was taken or used up.
    pub taken: Counter,
    /// Changes that were not, because the database failed.
    pub failed: Counter,
    /// How many changes were written together.
    pub batch: Histogram,
    /// How long a transaction took, from its begin until it was on disk.
    pub transaction: Histogram,
    /// How long its COMMIT took, which waits for the disk.
    pub commit: Histogram,
}

impl Default for Writing {
    fn default() -> Self {
        Self {
            queued: Gauge::default(),
            committed: Counter::default(),
            conflicts: Counter::default(),
            taken: Counter::default(),
            failed: Counter::default(),
            batch: Histogram::of_sizes(),
            transaction: Histogram::of_times(),
            commit: Histogram::of_times(),
        }
    }
}

/// Waiting for connections: for reading (SQLite), or for any (PostgreSQL).
#[derive(Debug)]
pub struct Waiting {
    /// Who waits for one.
    pub waiting: Gauge,
    /// How long one was waited for, and for the begin of its transaction.
    pub waited: Histogram,
    /// The longest of these waits since somebody asked how late the database is.
    pub lately: Longest,
}

impl Default for Waiting {
    fn default() -> Self {
        let (waiting, lately) = (Gauge::default(), Longest::default());
        Self { waiting, waited: Histogram::of_times(), lately }
    }
}
