//! Work that follows what is committed, at leisure.

use std::time::Duration;

use tokio::sync::watch;

use crate::Engine;

/// How long it is waited for more after something happened: one round serves it all.
const GATHER: Duration = Duration::from_millis(500);

/// How often it is looked for what happened without a position, or failed.
const LOOK_EVERY: Duration = Duration::from_secs(30);

/// When the next round of such work begins.
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
