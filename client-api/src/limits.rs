//! How often one user or address may do something, counted in memory and for each process.
//!
//! Attempts at log-in, registration and passwords are counted in the database instead, by the
//! engine: guessing must not become cheaper with more processes.

use std::{fmt, net::IpAddr, sync::Arc, time::Duration};

use governor::{
    Quota, RateLimiter, clock::Clock as GovernorClock, middleware::NoOpMiddleware,
    state::keyed::HashMapStateStore,
};
use ruma::UserId;
use starling_engine::clock::Clock;

use crate::{Allowance, Settings, error::Error};

/// How many users and addresses are remembered before those at rest are forgotten.
const REMEMBERED: usize = 10_000;

/// What is counted: each has its own allowance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Doing {
    /// Anything at all.
    Anything,
    /// Sending events.
    Sending,
    /// Joining, inviting, knocking and the like.
    Joining,
    /// Making rooms and aliases.
    Creating,
    /// Searching, listing, looking up what other servers must be asked for.
    Asking,
    /// Changing one's account, profile, devices.
    Account,
}

type Buckets<K> = RateLimiter<K, HashMapStateStore<K>, Time, NoOpMiddleware<Duration>>;

/// The allowances of everybody.
pub(crate) struct Limits {
    enabled: bool,
    time: Time,
    anything: Buckets<String>,
    sending: Buckets<String>,
    joining: Buckets<String>,
    creating: Buckets<String>,
    asking: Buckets<String>,
    account: Buckets<String>,
}

impl Limits {
    pub(crate) fn new(settings: &Settings, clock: Arc<dyn Clock>) -> Self {
        let time = Time(clock);
        let buckets = |allowance: Allowance| {
            let quota = Quota::per_second(allowance.per_second).allow_burst(allowance.burst);
            RateLimiter::new(quota, HashMapStateStore::default(), time.clone())
        };
        Self {
            enabled: settings.rate_limits,
            anything: buckets(settings.allowances.requests),
            sending: buckets(settings.allowances.sending),
            joining: buckets(settings.allowances.joining),
            creating: buckets(settings.allowances.creating),
            asking: buckets(settings.allowances.asking),
            account: buckets(settings.allowances.account),
            time,
        }
    }

    /// Takes one from a user's allowance.
    pub(crate) fn user(&self, doing: Doing, user: &UserId) -> Result<(), Error> {
        self.take(doing, user.as_str().to_owned())
    }

    /// Takes one from an address's allowance.
    pub(crate) fn address(&self, doing: Doing, address: IpAddr) -> Result<(), Error> {
        self.take(doing, network(address))
    }

    fn take(&self, doing: Doing, key: String) -> Result<(), Error> {
        if !self.enabled {
            return Ok(());
        }
        let buckets = self.buckets(doing);
        if buckets.len() > REMEMBERED {
            buckets.retain_recent();
        }
        buckets
            .check_key(&key)
            .map_err(|wait| Error::limit_exceeded(wait.wait_time_from(self.time.now())))
    }

    fn buckets(&self, doing: Doing) -> &Buckets<String> {
        match doing {
            Doing::Anything => &self.anything,
            Doing::Sending => &self.sending,
            Doing::Joining => &self.joining,
            Doing::Creating => &self.creating,
            Doing::Asking => &self.asking,
            Doing::Account => &self.account,
        }
    }
}

impl fmt::Debug for Limits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Limits").field("enabled", &self.enabled).finish_non_exhaustive()
    }
}

/// One household has one IPv4 address, but a whole /64 of IPv6.
fn network(address: IpAddr) -> String {
    match address.to_canonical() {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("{:x}/64", address.to_bits() >> 64),
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
    use std::sync::atomic::{AtomicI64, Ordering};

    use axum::response::IntoResponse as _;
    use http::{StatusCode, header};
    use ruma::user_id;

    use super::*;

    #[derive(Debug)]
    struct Hand(AtomicI64);

    impl Clock for Hand {
        fn now_ms(&self) -> i64 {
            self.0.load(Ordering::SeqCst)
        }
    }

    fn settings(rate_limits: bool) -> Settings {
        Settings { rate_limits, ..Settings::default() }
    }

    #[test]
    fn an_allowance_is_used_up_by_one_and_comes_back() {
        let clock = Arc::new(Hand(AtomicI64::new(1_000_000)));
        let limits = Limits::new(&settings(true), clock.clone());
        let (alice, bob) = (user_id!("@alice:test"), user_id!("@bob:test"));
        while limits.user(Doing::Creating, alice).is_ok() {}
        let refusal = limits.user(Doing::Creating, alice).unwrap_err().into_response();
        assert_eq!(refusal.status(), StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(refusal.headers()[header::RETRY_AFTER], "1");
        limits.user(Doing::Creating, bob).unwrap();
        limits.user(Doing::Sending, alice).unwrap();
        clock.0.fetch_add(1_000, Ordering::SeqCst);
        limits.user(Doing::Creating, alice).unwrap();
        limits.user(Doing::Creating, alice).unwrap_err();
    }

    #[test]
    fn switched_off_there_is_no_limit() {
        let limits = Limits::new(&settings(false), Arc::new(Hand(AtomicI64::new(0))));
        for _ in 0..1_000 {
            limits.address(Doing::Asking, "::1".parse().unwrap()).unwrap();
        }
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
