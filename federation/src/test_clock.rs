//! A clock that tests move by hand.

use std::sync::atomic::{AtomicI64, Ordering};

use starling_engine::clock::Clock;

/// Starts at some moment of the year 2026.
#[derive(Debug)]
pub(crate) struct ManualClock(AtomicI64);

impl Default for ManualClock {
    fn default() -> Self {
        Self(AtomicI64::new(1_790_000_000_000))
    }
}

impl ManualClock {
    pub(crate) fn advance(&self, ms: i64) {
        self.0.fetch_add(ms, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now_ms(&self) -> i64 {
        self.0.load(Ordering::SeqCst)
    }
}
