//! One who reads or waits.

use tokio_util::sync::CancellationToken;

use super::{Heard, Notifier};

/// Somebody who reads or waits. Dropping it ends that.
#[derive(Debug)]
pub struct Registration {
    notifier: Notifier,
    id: u64,
}

impl Registration {
    pub(super) fn new(notifier: Notifier, id: u64) -> Self {
        Self { notifier, id }
    }

    /// Begins to wait: everything up to `read_until` was read, and what happens in `rooms` (those
    /// that the user is joined to) is of interest, beside what concerns the user.
    pub fn begin(&self, rooms: Vec<String>, read_until: i64) {
        self.notifier.lock().begin(self.id, rooms, read_until);
    }

    /// What is cancelled when there are news since the registration, or since they were taken.
    #[must_use]
    pub fn wake(&self) -> CancellationToken {
        self.notifier.lock().wake(self.id).unwrap_or_default()
    }

    /// Waits for news since the registration, or since they were taken.
    pub async fn woken(&self) {
        self.wake().cancelled().await;
    }

    /// Whether there are news.
    #[must_use]
    pub fn was_woken(&self) -> bool {
        self.notifier.lock().has_heard(self.id)
    }

    /// Takes the news, and waits for others from now on. Up to the position everything was heard.
    #[must_use]
    pub fn take(&self) -> (Heard, i64) {
        let mut waiting = self.notifier.lock();
        (waiting.take(self.id), self.notifier.told())
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.notifier.lock().remove(self.id);
    }
}
