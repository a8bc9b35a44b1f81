//! `.well-known/matrix/server`: remembering to whom a host delegates its Matrix traffic.
//!
//! <https://spec.matrix.org/v1.19/server-server-api/#resolving-server-names>, step 3.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use moka::future::Cache;
use ruma::OwnedServerName;
use starling_engine::clock::Clock;

/// How long an answer without cache headers is good.
pub(crate) const DEFAULT_LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);
/// How long any answer is good at most.
const MAX_LIFETIME: Duration = Duration::from_secs(48 * 60 * 60);
/// How long any answer is good at least, so that a host without caching is not asked per request.
const MIN_LIFETIME: Duration = Duration::from_secs(60);
/// How long the first failure is remembered; each further one in a row doubles it ...
const FIRST_BACK_OFF: Duration = Duration::from_secs(60);
/// ... up to this.
const MAX_BACK_OFF: Duration = Duration::from_secs(60 * 60);
/// How many hosts are remembered.
const MAX_HOSTS: u64 = 32 * 1024;

/// A host's answer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Delegation {
    /// The server name that speaks for the host.
    pub server: OwnedServerName,
    /// How long the answer says it may be cached.
    pub lifetime: Duration,
}

/// Asks a host for its delegation; a test answers from a table.
#[async_trait]
pub trait WellKnownSource: Send + Sync + 'static {
    /// The host's valid answer, or why there is none (for the log).
    async fn fetch(&self, host: &str) -> Result<Delegation, String>;
}

/// What is remembered of a host.
#[derive(Clone, Debug)]
struct Entry {
    delegated: Option<OwnedServerName>,
    /// When the delegation was read, in milliseconds.
    read_ms: i64,
    /// When to ask again, in milliseconds.
    valid_until_ms: i64,
    /// How often in a row there was no valid answer.
    failures: u32,
}

/// Delegations with their cache; a host is asked by one task at a time.
pub struct WellKnown {
    source: Arc<dyn WellKnownSource>,
    clock: Arc<dyn Clock>,
    cache: Cache<String, Entry>,
}

impl WellKnown {
    /// An empty cache in front of `source`.
    #[must_use]
    pub fn new(source: Arc<dyn WellKnownSource>, clock: Arc<dyn Clock>) -> Self {
        Self { source, clock, cache: Cache::new(MAX_HOSTS) }
    }

    /// To whom `host` delegates; `None` when it does not or gives no valid answer.
    pub async fn delegated(&self, host: &str) -> Option<OwnedServerName> {
        let host = host.to_ascii_lowercase();
        let previous = self.cache.get(&host).await;
        let now = self.clock.now_ms();
        let entry = self
            .cache
            .entry_by_ref(&host)
            .or_insert_with_if(self.ask(&host, previous), |entry| entry.valid_until_ms <= now)
            .await
            .into_value();
        entry.delegated
    }

    async fn ask(&self, host: &str, previous: Option<Entry>) -> Entry {
        match self.source.fetch(host).await {
            Ok(Delegation { server, lifetime }) => {
                let now = self.clock.now_ms();
                let lifetime = lifetime.clamp(MIN_LIFETIME, MAX_LIFETIME);
                tracing::debug!(server.host = host, server.delegated = %server, "Read well-known");
                Entry {
                    delegated: Some(server),
                    read_ms: now,
                    valid_until_ms: now.saturating_add(millis(lifetime)),
                    failures: 0,
                }
            }
            Err(reason) => {
                tracing::debug!(server.host = host, reason, "No well-known");
                self.failed(previous)
            }
        }
    }

    /// A host that stops answering keeps its delegation for the longest time it could be cached.
    fn failed(&self, previous: Option<Entry>) -> Entry {
        let now = self.clock.now_ms();
        let failures = previous.as_ref().map_or(0, |entry| entry.failures).saturating_add(1);
        let back_off = FIRST_BACK_OFF.saturating_mul(1 << (failures - 1).min(16)).min(MAX_BACK_OFF);
        let kept =
            previous.filter(|entry| now < entry.read_ms.saturating_add(millis(MAX_LIFETIME)));
        Entry {
            read_ms: kept.as_ref().map_or(now, |entry| entry.read_ms),
            delegated: kept.and_then(|entry| entry.delegated),
            valid_until_ms: now.saturating_add(millis(back_off)),
            failures,
        }
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    };

    use starling_engine::testing::TestClock;

    use super::*;

    const MINUTE: i64 = 60_000;
    const HOUR: i64 = 60 * MINUTE;

    /// Answers what it is told to and counts how often it is asked.
    struct Script {
        answer: Mutex<Result<Delegation, String>>,
        asked: AtomicUsize,
    }

    #[async_trait]
    impl WellKnownSource for Script {
        async fn fetch(&self, _: &str) -> Result<Delegation, String> {
            self.asked.fetch_add(1, Ordering::SeqCst);
            // Gives other tasks the chance to ask meanwhile.
            tokio::task::yield_now().await;
            self.answer.lock().unwrap().clone()
        }
    }

    struct Setup {
        well_known: WellKnown,
        source: Arc<Script>,
        clock: Arc<TestClock>,
    }

    impl Setup {
        fn new(answer: Result<Delegation, String>) -> Self {
            let source = Arc::new(Script { answer: Mutex::new(answer), asked: 0.into() });
            let clock = Arc::new(TestClock::default());
            Self { well_known: WellKnown::new(source.clone(), clock.clone()), source, clock }
        }

        fn answer(&self, answer: Result<Delegation, String>) {
            *self.source.answer.lock().unwrap() = answer;
        }

        fn asked(&self) -> usize {
            self.source.asked.load(Ordering::SeqCst)
        }

        async fn delegated(&self) -> Option<String> {
            self.well_known.delegated("a.example").await.map(|name| name.to_string())
        }

        /// How many milliseconds pass until the host is asked again, measured in minutes.
        async fn asked_again_after(&self) -> i64 {
            let before = self.asked();
            let start = self.clock.now_ms();
            while self.asked() == before {
                self.clock.advance(MINUTE);
                self.delegated().await;
            }
            self.clock.now_ms() - start
        }
    }

    fn to(server: &str, hours: u64) -> Result<Delegation, String> {
        let lifetime = Duration::from_secs(hours * 60 * 60);
        Ok(Delegation { server: server.try_into().unwrap(), lifetime })
    }

    fn nothing() -> Result<Delegation, String> {
        Err("404".to_owned())
    }

    #[tokio::test]
    async fn an_answer_is_kept_for_its_lifetime_within_bounds() {
        for (hours, expected) in [(0, MINUTE), (5, 5 * HOUR), (48, 48 * HOUR), (999, 48 * HOUR)] {
            let setup = Setup::new(to("b.example:1", hours));
            assert_eq!(setup.delegated().await.as_deref(), Some("b.example:1"));
            assert_eq!(setup.asked_again_after().await, expected, "{hours}");
        }
    }

    #[tokio::test]
    async fn failures_back_off_up_to_an_hour_and_start_anew_after_success() {
        let setup = Setup::new(nothing());
        assert_eq!(setup.delegated().await, None);
        for minutes in [1, 2, 4, 8, 16, 32, 60, 60] {
            assert_eq!(setup.asked_again_after().await, minutes * MINUTE);
        }
        setup.answer(to("b.example", 1));
        setup.asked_again_after().await;
        assert_eq!(setup.delegated().await.as_deref(), Some("b.example"));
        setup.answer(nothing());
        assert_eq!(setup.asked_again_after().await, HOUR);
        assert_eq!(setup.asked_again_after().await, MINUTE);
    }

    #[tokio::test]
    async fn a_delegation_outlives_failures_until_48_hours_after_it_was_read() {
        let setup = Setup::new(to("b.example", 1));
        setup.delegated().await;
        setup.answer(nothing());
        setup.clock.advance(47 * HOUR);
        assert_eq!(setup.delegated().await.as_deref(), Some("b.example"));
        setup.clock.advance(2 * HOUR);
        assert_eq!(setup.delegated().await, None);
    }

    #[tokio::test]
    async fn a_host_is_asked_by_one_task_at_a_time_whatever_the_case_of_its_name() {
        let setup = Setup::new(to("b.example", 1));
        let names = ["a.example", "A.example", "a.EXAMPLE", "a.example"];
        let all = names.map(|name| setup.well_known.delegated(name));
        let answers = futures_util::future::join_all(all).await;
        assert!(answers.iter().all(Option::is_some));
        assert_eq!(setup.asked(), 1);
    }
}
