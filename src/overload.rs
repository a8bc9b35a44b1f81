//! More to do than can be done: the server notices by how late it is, works on so many requests at once as it can
//! do in time, and refuses the others at once.
//!
//! A server that takes everything on does all of it too late: whoever asked has gone, asks again, and makes it
//! worse. How many requests are too many depends on what they ask and on the machine; how late the server
//! comes to do what is due, and how long it waits for its database, depends on nothing else.

use std::{
    io,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicI64, AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use starling_engine::{
    Engine,
    measures::{Counter, Entered, Gauge},
};
use tokio::{runtime::Handle, task::yield_now};

/// How often it is looked how late the server is.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// How often it has to be late in a row before anything is refused: a machine may stand still for a moment.
const LATE_AT_FIRST: u32 = 4;
/// Once something is refused, the part of the allowed time by which the server may be late: a refusal waits as long.
const LATE_AFTERWARDS: u32 = 8;
/// How many looks without a refusal end it: five seconds.
const CALM: u32 = 100;
/// So many requests are always worked on: with fewer the disk is waited for, and less is written together.
const FEWEST: i64 = 32;
/// There may be any number of requests.
const ANY: i64 = i64::MAX;

/// How many requests are worked on at once. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Overload(Arc<State>);

#[derive(Debug)]
struct State {
    /// Requests without an answer.
    open: Gauge,
    /// Those of them that wait for news, which is no work.
    waiting: Gauge,
    /// How many may be worked on.
    most: AtomicI64,
    refused: Counter,
    late_us: AtomicU64,
}

impl Default for Overload {
    fn default() -> Self {
        Self::new(Gauge::default())
    }
}

impl Overload {
    fn new(waiting: Gauge) -> Self {
        Self(Arc::new(State {
            open: Gauge::default(),
            waiting,
            most: AtomicI64::new(ANY),
            refused: Counter::default(),
            late_us: AtomicU64::default(),
        }))
    }

    /// Watches how late the server is, until the engine shuts down. More than `allowed` is too late; without
    /// it nothing is ever refused.
    ///
    /// # Errors
    ///
    /// When there is no thread to be had.
    pub(crate) fn watch(engine: &Engine, allowed: Option<Duration>) -> io::Result<Self> {
        let overload = Self::new(engine.measures.sync.waiting.clone());
        if let Some(allowed) = allowed {
            let (overload, engine, runtime) = (overload.clone(), engine.clone(), Handle::current());
            let thread = thread::Builder::new().name("overload".to_owned());
            thread.spawn(move || watch(&overload, &engine, &runtime, allowed))?;
        }
        Ok(overload)
    }

    /// Lets the next request in, until what this returns is dropped, or not when there are too many.
    pub(crate) fn admit(&self) -> Option<Entered> {
        if self.at_work() < self.0.most.load(Relaxed) {
            return Some(self.0.open.enter());
        }
        self.0.refused.add(1);
        None
    }

    /// How many were not let in.
    pub(crate) fn refused(&self) -> u64 {
        self.0.refused.get()
    }

    /// By how much the server was late when it was looked at last.
    pub(crate) fn late(&self) -> Duration {
        Duration::from_micros(self.0.late_us.load(Relaxed))
    }

    /// One that refuses whatever is asked.
    #[cfg(test)]
    pub(crate) fn refusing_all() -> Self {
        let overload = Self::default();
        overload.0.most.store(0, Relaxed);
        overload
    }

    /// How many requests are worked on.
    pub(crate) fn at_work(&self) -> i64 {
        self.0.open.get() - self.0.waiting.get()
    }

    fn note_late(&self, late: Duration) {
        self.0.late_us.store(u64::try_from(late.as_micros()).unwrap_or(u64::MAX), Relaxed);
    }
}

/// Runs on a thread of its own: what it sends to the runtime then stands behind all that came before, as a
/// request that has waited for something does. A task of the runtime would be let through sooner.
fn watch(overload: &Overload, engine: &Engine, runtime: &Handle, allowed: Duration) {
    let (mut bound, mut probe, mut refused) = (Bound::default(), Probe::send(runtime), 0);
    while !engine.shutdown.is_cancelled() {
        thread::sleep(LOOK_EVERY);
        let late = probe.late().max(engine.storage.measures().connections.lately.take());
        overload.note_late(late);
        if probe.has_arrived() {
            probe = Probe::send(runtime);
        }
        let (was_bounded, had_refused) = (bound.most.is_some(), refused);
        refused = overload.refused();
        let has_refused = refused > had_refused;
        bound.adapt(&Look { late, at_work: overload.at_work(), has_refused }, allowed);
        overload.0.most.store(bound.most.unwrap_or(ANY), Relaxed);
        match (was_bounded, bound.most.is_some()) {
            (false, true) => tracing::warn!(
                late_ms = late.as_millis(),
                "there is more to do than can be done: a part of the requests is refused"
            ),
            (true, false) => tracing::info!(refused, "nothing is refused any more"),
            _ => {}
        }
    }
}

/// A task that does nothing but come to its turn twice, as a request does: once behind those that have waited
/// for something, once behind the new ones.
struct Probe {
    sent: Instant,
    took: Arc<OnceLock<Duration>>,
}

impl Probe {
    fn send(runtime: &Handle) -> Self {
        let probe = Self { sent: Instant::now(), took: Arc::default() };
        let (sent, took) = (probe.sent, probe.took.clone());
        runtime.spawn(async move {
            yield_now().await;
            took.set(sent.elapsed())
        });
        probe
    }

    fn has_arrived(&self) -> bool {
        self.took.get().is_some()
    }

    /// How long it took, or has been waiting for its turn.
    fn late(&self) -> Duration {
        self.took.get().copied().unwrap_or_else(|| self.sent.elapsed())
    }
}

/// What is seen when it is looked how late the server is.
#[derive(Clone, Copy, Debug)]
struct Look {
    late: Duration,
    /// How many requests are worked on.
    at_work: i64,
    /// Whether one was refused since the last look.
    has_refused: bool,
}

/// Decides how many requests may be worked on.
#[derive(Debug, Default)]
struct Bound {
    /// Any number if there is none.
    most: Option<i64>,
    late_in_a_row: u32,
    calm: u32,
}

impl Bound {
    fn adapt(&mut self, look: &Look, allowed: Duration) {
        match self.most {
            None => self.begin(look, allowed),
            Some(most) => self.go_on(most, look, allowed / LATE_AFTERWARDS),
        }
    }

    fn begin(&mut self, look: &Look, allowed: Duration) {
        self.late_in_a_row =
            if look.late > allowed { self.late_in_a_row.saturating_add(1) } else { 0 };
        if self.late_in_a_row >= LATE_AT_FIRST {
            *self = Self { most: Some(fewer(look.at_work)), ..Self::default() };
        }
    }

    fn go_on(&mut self, most: i64, look: &Look, allowed: Duration) {
        let is_late = look.late > allowed;
        self.calm = if look.has_refused || is_late { 0 } else { self.calm.saturating_add(1) };
        self.most = match is_late {
            true => Some(fewer(most.min(look.at_work))),
            false if self.calm >= CALM => None,
            false => Some(more(most.max(look.at_work))),
        };
    }
}

/// A tenth less.
fn fewer(requests: i64) -> i64 {
    requests.saturating_mul(9).div_euclid(10).max(FEWEST)
}

/// A twentieth more.
fn more(requests: i64) -> i64 {
    requests.saturating_add(requests.div_euclid(20)).saturating_add(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALLOWED: Duration = Duration::from_millis(200);
    const TOO_LATE: Duration = Duration::from_millis(201);

    fn look(late: Duration, at_work: i64) -> Look {
        Look { late, at_work, has_refused: true }
    }

    #[test]
    fn a_moment_refuses_nothing() {
        let mut bound = Bound::default();
        for _ in 0..10 {
            for _ in 1..LATE_AT_FIRST {
                bound.adapt(&look(ALLOWED * 9, 1_000), ALLOWED);
            }
            bound.adapt(&look(ALLOWED, 1_000), ALLOWED);
            assert_eq!(bound.most, None);
        }
    }

    #[test]
    fn as_many_are_worked_on_as_can_be_done_in_time() {
        let mut bound = Bound::default();
        (0..LATE_AT_FIRST).for_each(|_| bound.adapt(&look(TOO_LATE, 1_000), ALLOWED));
        assert_eq!(bound.most, Some(900));
        bound.adapt(&look(TOO_LATE, 500), ALLOWED);
        assert_eq!(bound.most, Some(450), "what there is counts, not what there might be");
        bound.adapt(&look(ALLOWED / LATE_AFTERWARDS, 450), ALLOWED);
        assert_eq!(bound.most, Some(473));
        bound.adapt(&look(ALLOWED / 2, 473), ALLOWED);
        assert_eq!(bound.most, Some(425), "a refusal is to be quick");
        (0..100).for_each(|_| bound.adapt(&look(TOO_LATE, 1), ALLOWED));
        assert_eq!(bound.most, Some(FEWEST));
    }

    #[test]
    fn it_ends_when_nobody_had_to_be_refused_for_a_while() {
        let mut bound = Bound::default();
        (0..LATE_AT_FIRST).for_each(|_| bound.adapt(&look(TOO_LATE, 100), ALLOWED));
        let calm = Look { late: Duration::ZERO, at_work: 5, has_refused: false };
        (1..CALM).for_each(|_| bound.adapt(&calm, ALLOWED));
        assert!(bound.most.is_some());
        bound.adapt(&look(Duration::ZERO, 5), ALLOWED);
        (1..CALM).for_each(|_| bound.adapt(&calm, ALLOWED));
        assert!(bound.most.is_some());
        bound.adapt(&calm, ALLOWED);
        assert_eq!(bound.most, None);
    }

    #[test]
    fn whoever_is_not_let_through_is_late() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let probe = Probe::send(runtime.handle());
        assert!(!probe.has_arrived(), "nothing runs yet");
        let late = probe.late();
        while !probe.has_arrived() {
            runtime.block_on(yield_now());
        }
        assert!(probe.late() >= late);
        assert_eq!(probe.late(), probe.late(), "it is measured once");
    }

    #[test]
    fn who_waits_for_news_takes_no_place() {
        let waiting = Gauge::default();
        let overload = Overload::new(waiting.clone());
        overload.0.most.store(2, Relaxed);
        let places: Vec<_> = (0..3).map(|_| overload.admit()).collect();
        assert_eq!(places.iter().flatten().count(), 2);
        assert!(overload.admit().is_none());
        assert_eq!((overload.at_work(), overload.refused()), (2, 2));
        let waits = waiting.enter();
        assert!(overload.admit().is_some(), "for as long as this lasts");
        drop(waits);
        assert!(overload.admit().is_none());
        drop(places);
        assert!(overload.admit().is_some());
    }
}
