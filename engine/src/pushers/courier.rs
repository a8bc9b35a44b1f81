//! Telling one pusher until it knows everything, or its gateway does not take it.

use std::{sync::Arc, time::Duration};

use ruma::{OwnedUserId, UserId};
use serde_json::Value;
use starling_storage::{
    Change,
    pushers::{self as rows, PusherKey, PusherRow, Write},
};

use super::{
    backoff,
    gateway::{self, Answer},
    notification::Target,
    round::{Look, Round},
    set::EMAIL,
};
use crate::{Engine, Internal, rng};

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

/// A pusher that is to be told something.
#[derive(Debug)]
pub(super) struct Call {
    /// The pusher.
    pub(super) key: PusherKey,
    /// What woke it.
    pub(super) round: Arc<Round>,
    /// Whether nobody was telling it anything when that happened.
    pub(super) was_idle: bool,
}

/// Tells a pusher what is due.
pub(super) async fn run(engine: &Engine, call: &Call) -> End {
    match drain(engine, call).await {
        Ok(end) => end,
        Err(error) => {
            let user_id = &call.key.user_id;
            tracing::error!(%error, user.id = user_id, "a user could not be told of messages");
            End::Pause(OWN_FAULT_PAUSE)
        }
    }
}

async fn drain(engine: &Engine, call: &Call) -> Result<End, Internal> {
    let Some(mut courier) = Courier::new(engine, call).await? else { return Ok(End::Gone) };
    if courier.row.kind == EMAIL {
        return courier.write(&call.round.due).await;
    }
    let mut round = call.round.clone();
    loop {
        if let Some(end) = courier.tell_items(&round).await? {
            return Ok(end);
        }
        let Some(look) = courier.new_badge(&round).await? else { return Ok(End::Drained) };
        match &look.later {
            Some(later) => round = later.clone(),
            None => return courier.tell_badge(look.unread).await,
        }
    }
}

/// Who tells a pusher.
pub(super) struct Courier<'a> {
    pub(super) engine: &'a Engine,
    pub(super) user_id: OwnedUserId,
    pub(super) row: PusherRow,
    /// Whether it has told something since the pusher was read.
    has_told: bool,
}

impl<'a> Courier<'a> {
    async fn new(engine: &'a Engine, call: &Call) -> Result<Option<Self>, Internal> {
        let user_id = OwnedUserId::try_from(call.key.user_id.as_str())?;
        let row = match call.was_idle {
            true => call.round.row(engine, &call.key).await?,
            false => read(engine, &call.key).await?,
        };
        let row = row.filter(|row| row.enabled);
        Ok(row.map(|row| Self { engine, user_id, row, has_told: false }))
    }

    /// Reads the pusher, which may have been set or removed meanwhile; whether anything is to be told.
    pub(super) async fn look_again(&mut self) -> Result<bool, Internal> {
        let row = read(self.engine, &self.row.key).await?;
        let Some(row) = row.filter(|row| row.enabled) else { return Ok(false) };
        (self.row, self.has_told) = (row, false);
        Ok(true)
    }

    /// Whether the pusher is still there. What was just read is.
    async fn is_there(&mut self) -> Result<bool, Internal> {
        if self.has_told { self.look_again().await } else { Ok(true) }
    }

    /// Tells one event after the other. `None` when all that is due is told.
    async fn tell_items(&mut self, round: &Round) -> Result<Option<End>, Internal> {
        let (engine, until) = (self.engine, round.due.until);
        let mut after = self.row.progress.cursor_pos;
        if after >= until {
            return Ok(None);
        }
        let mut passed_over = 0;
        loop {
            let look = round.look(engine, after).await?;
            let Some((pos, told)) = look.next(after) else { break };
            after = pos;
            let Some(told) = told else {
                passed_over += 1;
                continue;
            };
            if !self.is_there().await? {
                return Ok(Some(End::Gone));
            }
            let unread = look.unread;
            let compose =
                |target: &Target<'_>, user_id: &UserId| target.event(user_id, told, unread);
            if let Some(end) = self.tell(compose, pos, unread).await? {
                return Ok(Some(end));
            }
            passed_over = 0;
        }
        let is_far = until - self.row.progress.cursor_pos >= NOTED_EVERY;
        if is_far || passed_over >= NOTED_AFTER {
            self.row.progress.cursor_pos = until;
            self.note().await?;
        }
        Ok(None)
    }

    /// What was looked up, if a round asks for the number of unread messages and it is another one than was told
    /// last.
    async fn new_badge(&mut self, round: &Round) -> Result<Option<Arc<Look>>, Internal> {
        if !round.due.badge {
            return Ok(None);
        }
        let after = self.row.progress.cursor_pos.max(round.due.until);
        let look = round.look(self.engine, after).await?;
        let is_there = self.is_there().await?;
        Ok(Some(look).filter(|look| is_there && self.row.progress.badge != look.unread))
    }

    /// Tells a number of unread messages alone.
    async fn tell_badge(&mut self, unread: i64) -> Result<End, Internal> {
        let pos = self.row.progress.cursor_pos;
        let end = self.tell(|target, _| target.counts(unread), pos, unread).await?;
        Ok(end.unwrap_or(End::Drained))
    }

    /// Tells one thing. `None` when it was taken, and that is stored.
    async fn tell(
        &mut self,
        compose: impl FnOnce(&Target<'_>, &UserId) -> Value,
        pos: i64,
        unread: i64,
    ) -> Result<Option<End>, Internal> {
        let Some(target) = Target::of(&self.row) else { return Ok(Some(End::Gone)) };
        self.has_told = true;
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

async fn read(engine: &Engine, key: &PusherKey) -> Result<Option<PusherRow>, Internal> {
    let mut conn = engine.storage.read().await?;
    Ok(rows::get(&mut conn, key).await?)
}
