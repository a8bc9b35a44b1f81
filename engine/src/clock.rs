//! Where the engine gets the time from.

use std::{fmt::Debug, time::SystemTime};

use ruma::{MilliSecondsSinceUnixEpoch, UInt};

/// A source of wall-clock time; tests pass one that they move by hand.
pub trait Clock: Debug + Send + Sync + 'static {
    /// Milliseconds since the Unix epoch.
    fn now_ms(&self) -> i64;

    /// The same instant in the protocol's type.
    fn now(&self) -> MilliSecondsSinceUnixEpoch {
        let ms = u64::try_from(self.now_ms()).unwrap_or(0);
        MilliSecondsSinceUnixEpoch(UInt::new_saturating(ms))
    }
}

/// The system's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the clock")]
    fn now_ms(&self) -> i64 {
        SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .map_or(0, |d| i64::try_from(d.as_millis()).unwrap_or(i64::MAX))
    }
}
