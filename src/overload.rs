//! More to do than can be done: the server notices by how late it is, and refuses a part of what it is asked,
//! at once, so that the rest is done in time.
//!
//! A server that takes everything on does all of it too late: whoever asked has gone, asks again, and makes it
//! worse. How many requests are too many depends on what they ask and on the machine; how late the server
//! comes to do what is due, and how long it waits for its database, depends on nothing else.

use std::{
    io,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use starling_engine::{Engine, rng};
use tokio::runtime::Handle;

/// How often it is looked how late the server is.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// How often it has to be late in a row before anything is refused: a machine may stand still for a moment.
const LATE_AT_FIRST: u32 = 4;
/// By how much more is refused when the server is late by as much as it may be, and at most, in thousandths.
const STEP_UP: (u32, u32) = (50, 200);
/// By how much less when it is not.
const STEP_DOWN: u32 = 10;
/// Something is always let through.
const MOST: u32 = 980;

/// How much of what is asked is refused. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Overload(Arc<State>);

#[derive(Debug, Default)]
struct State {
    /// In thousandths.
    refused: AtomicU32,
    late_us: AtomicU64,
}

impl Overload {
    /// Watches how late the server is, until the engine shuts down. More than `allowed` is too late; without
    /// it nothing is ever refused.
    ///
    /// # Errors
    ///
    /// When there is no thread to be had.
    pub(crate) fn watch(engine: &Engine, allowed: Option<Duration>) -> io::Result<Self> {
        let overload = Self::default();
        if let Some(allowed) = allowed {
            let (overload, engine, runtime) = (overload.clone(), engine.clone(), Handle::current());
            let thread = thread::Builder::new().name("overload".to_owned());
            thread.spawn(move || watch(&overload, &engine, &runtime, allowed))?;
        }
        Ok(overload)
    }

    /// Whether the next request is to be refused.
    pub(crate) fn refuses(&self) -> bool {
        let refused = self.0.refused.load(Ordering::Relaxed);
        refused > 0 && u32::from_le_bytes(rng::bytes()) % 1000 < refused
    }

    /// Which part of what is asked is refused, from 0 to 1.
    pub(crate) fn refused_part(&self) -> f64 {
        f64::from(self.0.refused.load(Ordering::Relaxed)) / 1000.0
    }

    /// By how much the server was late when it was looked at last.
    pub(crate) fn late(&self) -> Duration {
        Duration::from_micros(self.0.late_us.load(Ordering::Relaxed))
    }

    /// One that refuses whatever is asked.
    #[cfg(test)]
    pub(crate) fn refusing_all() -> Self {
        let overload = Self::default();
        overload.note(Duration::ZERO, 1_000);
        overload
    }

    fn note(&self, late: Duration, refused: u32) {
        self.0
            .late_us
            .store(u64::try_from(late.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
        self.0.refused.store(refused, Ordering::Relaxed);
    }
}

/// Runs on a thread of its own: what it sends to the runtime then stands behind all that came before, as a
/// request of a new connection does. A task of the runtime would be let through sooner.
fn watch(overload: &Overload, engine: &Engine, runtime: &Handle, allowed: Duration) {
    let (mut measure, mut probe) = (Measure::default(), Probe::send(runtime));
    while !engine.shutdown.is_cancelled() {
        thread::sleep(LOOK_EVERY);
        let late = probe.late().max(engine.storage.measures().connections.lately.take());
        if probe.has_arrived() {
            probe = Probe::send(runtime);
        }
        let was_refusing = measure.refused > 0;
        measure.adapt(late, allowed);
        overload.note(late, measure.refused);
        match (was_refusing, measure.refused > 0) {
            (false, true) => tracing::warn!(
                late_ms = late.as_millis(),
                "there is more to do than can be done: a part of the requests is refused"
            ),
            (true, false) => tracing::info!("nothing is refused any more"),
            _ => {}
        }
    }
}

/// A task that does nothing but come to its turn.
struct Probe {
    sent: Instant,
    took: Arc<OnceLock<Duration>>,
}

impl Probe {
    fn send(runtime: &Handle) -> Self {
        let probe = Self { sent: Instant::now(), took: Arc::default() };
        let (sent, took) = (probe.sent, probe.took.clone());
        runtime.spawn(async move { took.set(sent.elapsed()) });
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

/// Decides how much is refused.
#[derive(Debug, Default)]
struct Measure {
    refused: u32,
    late_in_a_row: u32,
}

impl Measure {
    fn adapt(&mut self, late: Duration, allowed: Duration) {
        if late <= allowed {
            self.late_in_a_row = 0;
            self.refused = self.refused.saturating_sub(STEP_DOWN);
            return;
        }
        self.late_in_a_row = self.late_in_a_row.saturating_add(1);
        if self.refused == 0 && self.late_in_a_row < LATE_AT_FIRST {
            return;
        }
        let times = late.as_micros() / allowed.as_micros().max(1);
        let step = STEP_UP.0.saturating_mul(u32::try_from(times).unwrap_or(u32::MAX));
        self.refused = self.refused.saturating_add(step.min(STEP_UP.1)).min(MOST);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALLOWED: Duration = Duration::from_millis(200);

    #[test]
    fn a_moment_refuses_nothing() {
        let mut measure = Measure::default();
        for _ in 0..10 {
            for _ in 1..LATE_AT_FIRST {
                measure.adapt(ALLOWED * 9, ALLOWED);
            }
            measure.adapt(ALLOWED, ALLOWED);
            assert_eq!(measure.refused, 0);
        }
    }

    #[test]
    fn what_is_refused_follows_how_late_it_is() {
        let mut measure = Measure::default();
        (0..LATE_AT_FIRST).for_each(|_| measure.adapt(ALLOWED * 2, ALLOWED));
        assert_eq!(measure.refused, 2 * STEP_UP.0);
        (0..100).for_each(|_| measure.adapt(ALLOWED * 50, ALLOWED));
        assert_eq!(measure.refused, MOST);
        measure.adapt(ALLOWED / 2, ALLOWED);
        assert_eq!(measure.refused, MOST - STEP_DOWN);
        measure.adapt(ALLOWED * 3 / 2, ALLOWED);
        assert_eq!(measure.refused, MOST, "at once, once it refuses");
        (0..100).for_each(|_| measure.adapt(Duration::ZERO, ALLOWED));
        assert_eq!(measure.refused, 0);
    }

    #[test]
    fn whoever_is_not_let_through_is_late() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let probe = Probe::send(runtime.handle());
        assert!(!probe.has_arrived(), "nothing runs yet");
        let late = probe.late();
        runtime.block_on(tokio::task::yield_now());
        assert!(probe.has_arrived());
        assert!(probe.late() >= late);
        assert_eq!(probe.late(), probe.late(), "it is measured once");
    }

    #[test]
    fn a_part_is_refused() {
        let overload = Overload::default();
        assert!(!overload.refuses());
        overload.note(ALLOWED, 500);
        let refused = (0..1000).filter(|_| overload.refuses()).count();
        assert!((300..700).contains(&refused), "{refused}");
    }
}
