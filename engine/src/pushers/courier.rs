//! Telling one pusher until it knows everything, or its gateway does not take it.

use std::time::Duration;

use ruma::{OwnedUserId, UserId};
use serde_json::Value;
use starling_storage::{
    Change,
    pushers::{self as rows, PusherKey, PusherRow, Write},
};

use super::{
    backoff, badge,
    due::Due,
    gateway::{self, Answer},
    notification::{self, Target},
    pending,
    set::EMAIL,
};
use crate::{
    Engine, Internal,
    reading::{access::Asking, notified::Places},
    rng,
};

/// What happened longer ago is not told any more, in milliseconds.
const OLDEST_MS: i64 = 24 * 60 * 60 * 1_000;

/// After how many positions of which nothing was told it is noted how far the cursor is ...
const NOTED_EVERY: i64 = 1_000;

/// ... or after how many events that were not.
const NOTED_AFTER: usize = 20;

/// How long to wait after a failure of our own database.
const OWN_FAULT_PAUSE: Duration = Duration::from_secs(10);

/// How it ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The pusher knows everything up to where it was to look.
    Drained,
    /// There is nothing to tell it: it was removed or switched off.
    Gone,
    /// Its gateway is to be left alone for so long.
    Pause(Duration),
}

/// Tells a pusher what is due.
pub(super) async fn run(engine: &Engine, key: &PusherKey, due: &Due) -> End {
    match drain(engine, key, due).await {
        Ok(end) => end,
        Err(error) => {
            tracing::error!(%error, user.id = key.user_id, "a user could not be told of messages");
            End::Pause(OWN_FAULT_PAUSE)
        }
    }
}

async fn drain(engine: &Engine, key: &PusherKey, due: &Due) -> Result<End, Internal> {
    let Some(mut courier) = Courier::new(engine, key).await? else { return Ok(End::Gone) };
    if courier.row.kind == EMAIL {
        return courier.write(due).await;
    }
    if let Some(end) = courier.tell_items(due).await? {
        return Ok(end);
    }
    if due.badge
        && let Some(end) = courier.tell_badge().await?
    {
        return Ok(end);
    }
    Ok(End::Drained)
}

/// Who tells a pusher.
pub(super) struct Courier<'a> {
    pub(super) engine: &'a Engine,
    pub(super) user_id: OwnedUserId,
    pub(super) row: PusherRow,
}

impl<'a> Courier<'a> {
    async fn new(engine: &'a Engine, key: &PusherKey) -> Result<Option<Self>, Internal> {
        let user_id = OwnedUserId::try_from(key.user_id.as_str())?;
        let row = PusherRow { key: key.clone(), ..PusherRow::default() };
        let mut courier = Self { engine, user_id, row };
        Ok(courier.look_again().await?.then_some(courier))
    }

    /// Reads the pusher, which may have been set or removed meanwhile; whether anything is to be told.
    pub(super) async fn look_again(&mut self) -> Result<bool, Internal> {
        let mut conn = self.engine.storage.read().await?;
        let row = rows::get(&mut conn, &self.row.key).await?;
        drop(conn);
        let Some(row) = row.filter(|row| row.enabled) else { return Ok(false) };
        self.row = row;
        Ok(true)
    }

    /// Tells one event after the other. `None` when all that is due is told.
    async fn tell_items(&mut self, due: &Due) -> Result<Option<End>, Internal> {
        let after = self.row.progress.cursor_pos;
        if after >= due.until {
            return Ok(None);
        }
        let (engine, user_id) = (self.engine, self.user_id.clone());
        let items = pending::items(engine, &user_id, after, due).await?;
        let mut passed_over = 0;
        if !items.is_empty() {
            let asking = Asking { user_id: &user_id, device_id: None };
            let mut places = Places::new(engine, asking).await?;
            for item in &items {
                let told =
                    notification::told(engine, &user_id, &mut places, item, OLDEST_MS).await?;
                let Some(told) = told else {
                    passed_over += 1;
                    continue;
                };
                if !self.look_again().await? {
                    return Ok(Some(End::Gone));
                }
                let unread = badge::unread(engine, &user_id).await?;
                let compose =
                    |target: &Target<'_>, user_id: &UserId| target.event(user_id, &told, unread);
                if let Some(end) = self.tell(compose, item.pos(), unread).await? {
                    return Ok(Some(end));
                }
                passed_over = 0;
            }
        }
        let is_far = due.until - self.row.progress.cursor_pos >= NOTED_EVERY;
        if is_far || passed_over >= NOTED_AFTER {
            self.row.progress.cursor_pos = due.until;
            self.note().await?;
        }
        Ok(None)
    }

    /// Tells the number of unread messages, if it is another one than was told last.
    async fn tell_badge(&mut self) -> Result<Option<End>, Internal> {
        let unread = badge::unread(self.engine, &self.user_id).await?;
        if !self.look_again().await? {
            return Ok(Some(End::Gone));
        }
        if self.row.progress.badge == unread {
            return Ok(None);
        }
        let pos = self.row.progress.cursor_pos;
        self.tell(|target, _| target.counts(unread), pos, unread).await
    }

    /// Tells one thing. `None` when it was taken, and that is stored.
    async fn tell(
        &mut self,
        compose: impl FnOnce(&Target<'_>, &UserId) -> Value,
        pos: i64,
        unread: i64,
    ) -> Result<Option<End>, Internal> {
        let Some(target) = Target::of(&self.row) else { return Ok(Some(End::Gone)) };
        let body = compose(&target, &self.user_id);
        let pushkey = &self.row.key.pushkey;
        let answer = gateway::tell(self.engine, &target.url, pushkey, &body).await;
        match answer {
            Answer::Taken => self.taken(pos, unread).await.map(|()| None),
            Answer::Rejected => self.rejected().await.map(Some),
            Answer::Failed(reason) => self.failed(&reason).await.map(Some),
        }
    }

    async fn taken(&mut self, pos: i64, unread: i64) -> Result<(), Internal> {
        let progress = &mut self.row.progress;
        progress.cursor_pos = pos;
        progress.badge = unread;
        (progress.failures, progress.retry_ts) = (0, 0);
        self.note().await
    }

    /// "Homeservers must cease sending notification requests for these pushkeys and remove the
    /// associated pushers."
    async fn rejected(&self) -> Result<End, Internal> {
        let PusherKey { user_id, app_id, .. } = &self.row.key;
        tracing::info!(user.id = user_id, app_id, "a push gateway knows a pushkey no more");
        self.remove().await
    }

    pub(super) async fn remove(&self) -> Result<End, Internal> {
        let mut change = Change::new();
        change.write(Write::Remove(self.row.key.clone()));
        self.engine.storage.commit(change).await?;
        Ok(End::Gone)
    }

    pub(super) async fn failed(&mut self, reason: &str) -> Result<End, Internal> {
        let progress = &mut self.row.progress;
        progress.failures = progress.failures.saturating_add(1);
        let [jitter] = rng::bytes::<1>();
        let pause = backoff::pause(progress.failures, jitter);
        let pause_ms = i64::try_from(pause.as_millis()).unwrap_or(i64::MAX);
        progress.retry_ts = self.engine.clock.now_ms().saturating_add(pause_ms);
        let failures = progress.failures;
        self.note().await?;
        tracing::info!(
            user.id = self.row.key.user_id,
            app_id = self.row.key.app_id,
            reason,
            failures,
            ?pause,
            "a notification was not taken"
        );
        Ok(End::Pause(pause))
    }

    pub(super) async fn note(&self) -> Result<(), Internal> {
        let mut change = Change::new();
        change.write(Write::Progress(self.row.key.clone(), self.row.progress));
        self.engine.storage.commit(change).await?;
        Ok(())
    }
}
