//! Statements and transactions that take long: they are said in the log, and counted.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use tokio::time::Instant;

use crate::measure::Counter;

/// How much of a statement's text is said, in characters: one that writes many rows has thousands.
const SAID: usize = 1000;

/// Notices what takes long. Nothing is noticed until [`Slow::notice_from`] says from when on.
#[derive(Debug, Default)]
pub struct Slow {
    /// In milliseconds; 0: nothing is noticed.
    from_ms: AtomicU64,
    /// Statements that took long, whatever became of them.
    pub statements: Counter,
    /// Transactions of the writer that took long, and were written.
    pub transactions: Counter,
}

impl Slow {
    /// From now on what takes so many milliseconds is long; 0: nothing is.
    pub fn notice_from(&self, ms: u64) {
        self.from_ms.store(ms, Relaxed);
    }

    /// A statement begins, and ends when what this returns is dropped.
    pub(crate) fn watch<'a>(&'a self, text: &'a str) -> Watch<'a> {
        let since = (self.from_ms.load(Relaxed) > 0).then(Instant::now);
        Watch { slow: self, text, since, rows: None }
    }

    /// The writer wrote so many changes in a transaction.
    pub(crate) fn transaction(&self, took: Duration, changes: usize) {
        if let Some(ms) = self.too_long(took) {
            self.transactions.count();
            tracing::warn!(ms, changes, "a transaction of the writer was slow");
        }
    }

    /// The milliseconds, if they are too many.
    fn too_long(&self, took: Duration) -> Option<u64> {
        let (from, ms) = (self.from_ms.load(Relaxed), u64::try_from(took.as_millis()).ok()?);
        (from > 0 && ms >= from).then_some(ms)
    }
}

/// A statement that runs. Also one that fails, or that nobody waits for any more, is noticed.
pub(crate) struct Watch<'a> {
    slow: &'a Slow,
    text: &'a str,
    since: Option<Instant>,
    rows: Option<u64>,
}

impl Watch<'_> {
    /// The statement succeeded, and gave or changed so many rows.
    pub(crate) fn succeeded(&mut self, rows: u64) {
        self.rows = Some(rows);
    }
}

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        let Some(ms) = self.since.and_then(|since| self.slow.too_long(since.elapsed())) else {
            return;
        };
        self.slow.statements.count();
        // The text has placeholders: what people said is in the values, and they are not said here.
        let statement: String = self.text.chars().take(SAID).collect();
        tracing::warn!(ms, rows = self.rows, statement, "a statement was slow");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs a statement that began so long ago.
    fn run(slow: &Slow, ms: u64) {
        let mut watch = slow.watch("SELECT 1");
        let begun = Instant::now().checked_sub(Duration::from_millis(ms)).unwrap();
        watch.since = watch.since.map(|_| begun);
        watch.succeeded(1);
    }

    #[test]
    fn what_takes_as_long_as_is_said_is_slow() {
        let slow = Slow::default();
        let counts = || (slow.statements.get(), slow.transactions.get());
        run(&slow, 60_000);
        slow.transaction(Duration::from_secs(60), 1);
        assert_eq!(counts(), (0, 0), "nothing is noticed");
        slow.notice_from(30_000);
        run(&slow, 0);
        slow.transaction(Duration::from_millis(29_999), 1);
        assert_eq!(counts(), (0, 0));
        run(&slow, 30_000);
        slow.transaction(Duration::from_secs(30), 1);
        assert_eq!(counts(), (1, 1));
        slow.notice_from(0);
        run(&slow, 60_000);
        assert_eq!(counts(), (1, 1));
    }
}
