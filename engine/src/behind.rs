//! When work that can wait is done: behind what is committed, or when somebody wakes it.

use std::time::Duration;

use tokio::sync::{Notify, watch};

use crate::Engine;

/// How long it is waited for more after something happened: one round serves it all.
const GATHER: Duration = Duration::from_millis(500);

/// How often it is looked for what happened without a position, or failed.
const LOOK_EVERY: Duration = Duration::from_secs(30);

/// Waits until somebody wakes, or for a while: another process may have left work over. Whether there
/// is a next round; there is none when the process shuts down.
pub(crate) async fn woken(engine: &Engine, wake: &Notify) -> bool {
    tokio::select! {
        () = engine.shutdown.cancelled() => false,
        () = wake.notified() => true,
        () = tokio::time::sleep(LOOK_EVERY) => true,
    }
}

/// When the next round of work begins that follows commits.
#[derive(Debug)]
pub struct Rounds {
    engine: Engine,
    head: watch::Receiver<i64>,
    begun: bool,
}

impl Rounds {
    /// The first round begins at once.
    #[must_use]
    pub fn new(engine: &Engine) -> Self {
        let head = engine.storage.feed().watch();
        Self { engine: engine.clone(), head, begun: false }
    }

    /// Waits for the next round: after commits, and from time to time. Whether there is one; there is
    /// none when the process shuts down.
    pub async fn next(&mut self) -> bool {
        if !self.begun {
            self.begun = true;
            return true;
        }
        let head = &mut self.head;
        let something = async {
            tokio::select! {
                _ = head.changed() => tokio::time::sleep(GATHER).await,
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
        };
        tokio::select! {
            () = self.engine.shutdown.cancelled() => return false,
            () = something => {}
        }
        // What was committed until now is seen by this round.
        self.head.mark_unchanged();
        true
    }
}
