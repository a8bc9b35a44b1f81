//! Telling a user by letters what they missed: one for everything that waits, a while after the first of it
//! came, and ever more rarely while none makes them look.

use std::time::Duration;

use starling_storage::pushers::Progress;

use super::{
    badge,
    courier::{Courier, End},
    due::Due,
    letter,
    notification::{self, Told},
    pending,
};
use crate::{
    Internal,
    accounts::threepids,
    config::Email,
    reading::{access::Asking, notified::Places},
};

/// What happened longer ago is not written of any more, in milliseconds.
const OLDEST_MS: i64 = 3 * 24 * 60 * 60 * 1_000;

/// The longest time between two letters, in milliseconds.
const LONGEST_PAUSE_MS: i64 = 24 * 60 * 60 * 1_000;

impl Courier<'_> {
    /// Writes a letter, if it is time for one.
    pub(super) async fn write(&mut self, due: &Due) -> Result<End, Internal> {
        let Some(config) = &self.engine.config.email else { return Ok(End::Gone) };
        let owner = threepids::owner(self.engine, &self.row.key.pushkey).await?;
        if owner.as_ref() != Some(&self.user_id) {
            return self.remove().await;
        }
        let is_over_ms = self.row.progress.retry_ts;
        if let Some(pause) = self.until(is_over_ms) {
            return Ok(pause);
        }
        // The cursor stands at the last letter, so what is due comes on top of what waits already.
        let missed = self.missed(&Due::everything(due.until)).await?;
        let Some((oldest, newest_pos)) = missed.first().zip(missed.last().map(|(_, pos)| *pos))
        else {
            return Ok(End::Drained);
        };
        if let Some(pause) = self.until(oldest.0.event.received_ts + config.notify_after_ms) {
            return Ok(pause);
        }
        let told: Vec<&Told> = missed.iter().map(|(told, _)| told).collect();
        let unread = badge::unread(self.engine, &self.user_id).await?;
        if !self.look_again().await? {
            return Ok(End::Gone);
        }
        let letter = letter::letter(self.engine, config, &self.row, &told);
        if let Err(error) = self.engine.outside.send_letter(letter).await {
            return self.failed(&error.to_string()).await;
        }
        let missed = i64::try_from(told.len()).unwrap_or(i64::MAX);
        let now_ms = self.engine.clock.now_ms();
        self.row.progress = Progress {
            cursor_pos: newest_pos,
            badge: unread,
            ..after(config, self.row.progress, unread < self.row.progress.badge + missed, now_ms)
        };
        self.note().await?;
        Ok(End::Drained)
    }

    /// Everything after the cursor that was not read, with where it stands, oldest first.
    async fn missed(&self, due: &Due) -> Result<Vec<(Told, i64)>, Internal> {
        let (engine, user_id) = (self.engine, &self.user_id);
        let after = self.row.progress.cursor_pos;
        let items = pending::items(engine, user_id, after, due).await?;
        let asking = Asking { user_id, device_id: None };
        let mut places = Places::new(engine, asking).await?;
        let mut missed = Vec::new();
        for item in &items {
            let told = notification::told(engine, user_id, &mut places, item, OLDEST_MS).await?;
            missed.extend(told.map(|told| (told, item.pos())));
        }
        Ok(missed)
    }

    /// The pause until a time that is still to come.
    fn until(&self, ms: i64) -> Option<End> {
        let wait_ms = u64::try_from(ms.saturating_sub(self.engine.clock.now_ms())).ok()?;
        (wait_ms > 0).then(|| End::Pause(Duration::from_millis(wait_ms)))
    }
}

/// When the next letter may be written after this one: each that is not heeded doubles the time.
fn after(config: &Email, before: Progress, heeded: bool, now_ms: i64) -> Progress {
    let letters = if heeded { 0 } else { before.letters.clamp(0, 16) };
    let pause_ms = config.notify_again_ms.saturating_mul(1 << letters).min(LONGEST_PAUSE_MS);
    Progress {
        letters: letters + 1,
        failures: 0,
        retry_ts: now_ms.saturating_add(pause_ms),
        ..before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_that_nobody_heeds_become_rare() {
        const HOUR_MS: i64 = 60 * 60 * 1_000;
        let config = Email { notify_again_ms: HOUR_MS, ..Email::default() };
        let mut progress = Progress::default();
        let mut pauses = Vec::new();
        for heeded in [false, false, false, false, false, false, true, false] {
            progress = after(&config, progress, heeded, 0);
            pauses.push(progress.retry_ts / HOUR_MS);
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 24, 1, 2]);
    }
}
