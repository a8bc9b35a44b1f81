//! How many invites another server may send, counted in memory and for each process. Invites are what
//! a stranger can make our users see without sharing a room with them.

use std::{fmt, num::NonZeroU32, sync::Arc, time::Duration};

use governor::{
    Quota, RateLimiter, clock::Clock as GovernorClock, middleware::NoOpMiddleware,
    state::keyed::HashMapStateStore,
};
use ruma::{OwnedServerName, ServerName};
use starling_engine::clock::Clock;

use crate::error::{Error, Kind};

/// How many servers are remembered before those at rest are forgotten.
const REMEMBERED: usize = 10_000;

/// How many requests are let through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowance {
    /// How many at once.
    pub burst: NonZeroU32,
    /// How many more with each second.
    pub per_second: NonZeroU32,
}

impl Allowance {
    /// An allowance; nothing counts as one.
    #[must_use]
    pub fn new(burst: u32, per_second: u32) -> Self {
        let one = |number| NonZeroU32::new(number).unwrap_or(NonZeroU32::MIN);
        Self { burst: one(burst), per_second: one(per_second) }
    }
}

/// The invites of each server; a user of a large server who invites a whole room's worth at once is
/// not held up.
impl Default for Allowance {
    fn default() -> Self {
        Self::new(100, 1)
    }
}

type Buckets = RateLimiter<
    OwnedServerName,
    HashMapStateStore<OwnedServerName>,
    Time,
    NoOpMiddleware<Duration>,
>;

/// What is left of the allowance of each server.
pub(crate) struct Limits {
    time: Time,
    invites: Option<Buckets>,
}

impl Limits {
    /// `None`: there is no limit.
    pub(crate) fn new(invites: Option<Allowance>, clock: Arc<dyn Clock>) -> Self {
        let time = Time(clock);
        let buckets = |allowance: Allowance| {
            let quota = Quota::per_second(allowance.per_second).allow_burst(allowance.burst);
            RateLimiter::new(quota, HashMapStateStore::default(), time.clone())
        };
        Self { invites: invites.map(buckets), time }
    }

    /// Takes one invite from a server's allowance.
    pub(crate) fn invite(&self, origin: &ServerName) -> Result<(), Error> {
        let Some(buckets) = &self.invites else { return Ok(()) };
        if buckets.len() > REMEMBERED {
            buckets.retain_recent();
        }
        buckets.check_key(&origin.to_owned()).map_err(|wait| {
            let wait = wait.wait_time_from(self.time.now()).as_millis();
            Error::new(Kind::LimitExceeded, "Too many invites by your server: try again later")
                .with("retry_after_ms", u64::try_from(wait).unwrap_or(u64::MAX))
        })
    }
}

impl fmt::Debug for Limits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Limits").field("enabled", &self.invites.is_some()).finish_non_exhaustive()
    }
}

/// The engine's clock, as the crate that counts wants it.
#[derive(Clone, Debug)]
struct Time(Arc<dyn Clock>);

impl GovernorClock for Time {
    type Instant = Duration;

    fn now(&self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.now_ms()).unwrap_or(0))
    }
}
