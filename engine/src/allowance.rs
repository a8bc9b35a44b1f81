//! How often somebody may do something: a burst, and so many more with each second. Counted in memory
//! and for each process; both doors count with it.

use std::{fmt, hash::Hash, net::IpAddr, num::NonZeroU32, sync::Arc, time::Duration};

use governor::{
    Quota, RateLimiter, clock::Clock as GovernorClock, middleware::NoOpMiddleware,
    state::keyed::HashMapStateStore,
};

use crate::clock::Clock;

/// How many are remembered before those at rest are forgotten.
const REMEMBERED: usize = 10_000;

/// A burst, and what comes after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowance {
    /// How many at once.
    pub burst: NonZeroU32,
    /// How many more with each second.
    pub per_second: NonZeroU32,
}

impl Allowance {
    /// An allowance; what is 0 counts as 1.
    #[must_use]
    pub fn new(burst: u32, per_second: u32) -> Self {
        let or_one = |number| NonZeroU32::new(number).unwrap_or(NonZeroU32::MIN);
        Self { burst: or_one(burst), per_second: or_one(per_second) }
    }
}

/// As whom an address is counted: one household has one IPv4 address, but a whole /64 of IPv6.
#[must_use]
pub fn network(address: IpAddr) -> String {
    match address.to_canonical() {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("{:x}/64", address.to_bits() >> 64),
    }
}

/// What is left of the allowance of each.
pub struct Left<K: Clone + Eq + Hash> {
    limiter: RateLimiter<K, HashMapStateStore<K>, Time, NoOpMiddleware<Duration>>,
    time: Time,
}

impl<K: Clone + Eq + Hash> Left<K> {
    /// Everybody's whole allowance.
    #[must_use]
    pub fn new(allowance: Allowance, clock: Arc<dyn Clock>) -> Self {
        let time = Time(clock);
        let quota = Quota::per_second(allowance.per_second).allow_burst(allowance.burst);
        let limiter = RateLimiter::new(quota, HashMapStateStore::default(), time.clone());
        Self { limiter, time }
    }

    /// Takes one from somebody's allowance.
    ///
    /// # Errors
    ///
    /// How long they have to wait, when there is nothing left.
    pub fn take(&self, key: &K) -> Result<(), Duration> {
        if self.limiter.len() > REMEMBERED {
            self.limiter.retain_recent();
        }
        self.limiter.check_key(key).map_err(|wait| wait.wait_time_from(self.time.now()))
    }
}

impl<K: Clone + Eq + Hash> fmt::Debug for Left<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Left").finish_non_exhaustive()
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::TestClock;

    #[test]
    fn it_is_used_up_by_one_and_comes_back() {
        let clock = Arc::new(TestClock::default());
        let left = Left::new(Allowance::new(2, 1), clock.clone());
        left.take(&"alice").unwrap();
        left.take(&"alice").unwrap();
        assert_eq!(left.take(&"alice"), Err(Duration::from_secs(1)));
        left.take(&"bob").unwrap();
        clock.advance(1_000);
        left.take(&"alice").unwrap();
        left.take(&"alice").unwrap_err();
    }

    #[test]
    fn a_network_is_one_address() {
        let name = |text: &str| network(text.parse().unwrap());
        assert_eq!(name("2001:db8::1"), name("2001:db8::ffff:2"));
        assert_ne!(name("2001:db8::1"), name("2001:db8:0:1::1"));
        assert_eq!(name("::ffff:192.0.2.1"), name("192.0.2.1"));
        assert_ne!(name("192.0.2.1"), name("192.0.2.2"));
    }
}
