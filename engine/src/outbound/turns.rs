//! Who is sent to when: servers that answer must not wait for those that do not.
//!
//! A transaction begins when there is a place. After a moment without an answer it gives the place
//! back and goes on among the slow ones; where there are too many of those it is given up for now. Servers
//! that failed have a few places of their own.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

use super::transaction::Refused;
use crate::measures::{Entered, Gauge};

/// How many servers are sent to at a time that did not fail lately ...
const PROMPT: usize = 128;
/// ... and how many that did.
const FAILING: usize = 32;
/// How many may take longer than [`MOMENT`].
const SLOW: usize = 192;
/// A server that is well takes a transaction in this time, mostly.
const MOMENT: Duration = Duration::from_secs(3);

/// The places.
#[derive(Clone, Debug)]
pub(super) struct Turns {
    prompt: Arc<Semaphore>,
    failing: Arc<Semaphore>,
    slow: Arc<Semaphore>,
    moment: Duration,
    /// How many are slow now.
    measured: Gauge,
}

/// A server's turn.
#[derive(Debug)]
pub(super) struct Turn {
    place: Option<OwnedSemaphorePermit>,
    is_slow: bool,
    slow: Arc<Semaphore>,
    moment: Duration,
    measured: Gauge,
    counted: Option<Entered>,
}

impl Default for Turns {
    fn default() -> Self {
        let places = |count| Arc::new(Semaphore::new(count));
        let (prompt, failing, slow) = (places(PROMPT), places(FAILING), places(SLOW));
        Self { prompt, failing, slow, moment: MOMENT, measured: Gauge::default() }
    }
}

impl Turns {
    /// The places, with a gauge of how many servers are slow.
    pub(super) fn measured(measured: &Gauge) -> Self {
        Self { measured: measured.clone(), ..Self::default() }
    }

    /// Waits for a place.
    pub(super) async fn wait(&self, failed_lately: bool) -> Turn {
        let places = if failed_lately { &self.failing } else { &self.prompt };
        let place = places.clone().acquire_owned().await.ok();
        let (slow, measured) = (self.slow.clone(), self.measured.clone());
        Turn { place, is_slow: false, slow, moment: self.moment, measured, counted: None }
    }
}

impl Turn {
    /// Sends, and gives the place to others when that takes longer than a moment.
    ///
    /// # Errors
    ///
    /// Those of sending, and [`Refused::Later`] when too many take as long.
    pub(super) async fn take(
        &mut self,
        sending: impl Future<Output = Result<(), Refused>>,
    ) -> Result<(), Refused> {
        let mut sending = std::pin::pin!(sending);
        if self.is_slow {
            return sending.await;
        }
        if let Ok(outcome) = timeout(self.moment, &mut sending).await {
            return outcome;
        }
        let Ok(place) = self.slow.clone().try_acquire_owned() else {
            let reason = format!("no answer in {:?}, as from many others", self.moment);
            return Err(Refused::Later(reason));
        };
        // The place that was held is free now.
        self.place = Some(place);
        self.is_slow = true;
        self.counted = Some(self.measured.enter());
        sending.await
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;

    /// With a short moment; no test waits for more than a few of them.
    fn turns() -> Turns {
        Turns { moment: Duration::from_millis(50), ..Turns::default() }
    }

    #[tokio::test]
    async fn who_answers_does_not_wait_for_those_who_do_not() {
        let turns = turns();
        let mut silent = tokio::task::JoinSet::new();
        for _ in 0..900 {
            let turns = turns.clone();
            silent.spawn(async move { turns.wait(false).await.take(pending()).await });
        }
        tokio::task::yield_now().await;
        turns.wait(false).await.take(async { Ok(()) }).await.unwrap();
        // Those for which there is no place among the slow ones are given up for now.
        let refused = silent.join_next().await.unwrap().unwrap();
        assert!(matches!(refused, Err(Refused::Later(_))));
        assert_eq!(turns.slow.available_permits(), 0);
    }

    #[tokio::test]
    async fn who_failed_has_other_places() {
        let turns = turns();
        let mut held = Vec::new();
        for _ in 0..FAILING {
            held.push(turns.wait(true).await);
        }
        turns.wait(false).await.take(async { Ok(()) }).await.unwrap();
        let waiting = timeout(Duration::from_millis(50), turns.wait(true)).await;
        assert!(waiting.is_err());
    }
}
