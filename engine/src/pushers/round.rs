//! What the pushers of one user are to be told of what woke them: looked up once for all of them.

use std::{collections::HashMap, sync::Arc};

use ruma::{OwnedUserId, UserId};
use starling_storage::pushers::{self as rows, PusherKey, PusherRow};
use tokio::sync::{Mutex, OnceCell};

use super::{
    badge,
    due::Due,
    notification::{self, Told},
    pending,
};
use crate::{
    Engine, Internal,
    reading::{access::Asking, notified::Places},
};

/// What happened longer ago is not told any more, in milliseconds.
const OLDEST_MS: i64 = 24 * 60 * 60 * 1_000;

/// How many events are looked up ahead of telling them.
const AHEAD: usize = 20;

/// For how long what was looked up is told, in milliseconds. Where a gateway takes longer, the user may
/// have read meanwhile what is still to be told.
const FRESH_MS: i64 = 1_000;

/// What woke pushers of a user, and what was looked up for them.
#[derive(Debug)]
pub(super) struct Round {
    /// Where they are to look.
    pub(super) due: Due,
    user_id: String,
    rows: OnceCell<HashMap<PusherKey, PusherRow>>,
    look: Mutex<Option<Arc<Look>>>,
}

/// What is to be told after a position.
#[derive(Debug)]
pub(super) struct Look {
    after: i64,
    looked_ms: i64,
    items: Vec<(i64, Option<Told>)>,
    /// Whether these are all that are due.
    complete: bool,
    /// The number of unread messages.
    pub(super) unread: i64,
    /// A round for what this number counts and is not due yet, if the number is: told alone, it would be ahead
    /// of the messages.
    pub(super) later: Option<Arc<Round>>,
}

impl Look {
    /// The first thing after a position, and where it stands; without what is to be told of it when that
    /// is nothing.
    pub(super) fn next(&self, after: i64) -> Option<(i64, Option<&Told>)> {
        let next = self.items.iter().find(|(pos, _)| *pos > after)?;
        Some((next.0, next.1.as_ref()))
    }

    /// Whether this still says what is to be told after a position.
    fn serves(&self, after: i64, now_ms: i64) -> bool {
        self.after <= after
            && now_ms.saturating_sub(self.looked_ms) < FRESH_MS
            && (self.complete || self.next(after).is_some())
    }
}

impl Round {
    /// Nothing is looked up yet.
    pub(super) fn new(user_id: &str, due: Due) -> Arc<Self> {
        let (rows, look) = (OnceCell::new(), Mutex::new(None));
        Arc::new(Self { due, user_id: user_id.to_owned(), rows, look })
    }

    /// A pusher as it was after the round began: only for those that nobody told anything at the time, as
    /// others went on meanwhile.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub(super) async fn row(
        &self,
        engine: &Engine,
        key: &PusherKey,
    ) -> Result<Option<PusherRow>, Internal> {
        let read = async || {
            let mut conn = engine.storage.read().await?;
            let rows = rows::of_user(&mut conn, &self.user_id).await?;
            Ok::<_, Internal>(rows.into_iter().map(|row| (row.key.clone(), row)).collect())
        };
        let rows: &HashMap<_, _> = self.rows.get_or_try_init(read).await?;
        Ok(rows.get(key).cloned())
    }

    /// What is to be told after a position, as somebody else found it a moment ago, or now.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub(super) async fn look(&self, engine: &Engine, after: i64) -> Result<Arc<Look>, Internal> {
        let mut found = self.look.lock().await;
        let serves = |look: &&Arc<Look>| look.serves(after, engine.clock.now_ms());
        if let Some(look) = found.as_ref().filter(serves) {
            return Ok(look.clone());
        }
        let look = Arc::new(self.look_up(engine, after).await?);
        *found = Some(look.clone());
        Ok(look)
    }

    async fn look_up(&self, engine: &Engine, after: i64) -> Result<Look, Internal> {
        let user_id = OwnedUserId::try_from(self.user_id.as_str())?;
        let looked_ms = engine.clock.now_ms();
        let mut due = pending::items(engine, &user_id, after, &self.due).await?;
        let complete = due.len() <= AHEAD;
        due.truncate(AHEAD);
        let items = told(engine, &user_id, due).await?;
        let unread = badge::unread(engine, &user_id).await?;
        let later = if self.due.badge { self.later(engine, &user_id).await? } else { None };
        Ok(Look { after, looked_ms, items, complete, unread, later })
    }

    /// A round for what has come since this one began.
    async fn later(
        &self,
        engine: &Engine,
        user_id: &UserId,
    ) -> Result<Option<Arc<Self>>, Internal> {
        let everything = Due::everything(i64::MAX);
        let items = pending::items(engine, user_id, self.due.until, &everything).await?;
        let until = items.last().map(pending::Item::pos);
        Ok(until.map(|until| Self::new(&self.user_id, Due::everything(until))))
    }
}

async fn told(
    engine: &Engine,
    user_id: &UserId,
    items: Vec<pending::Item>,
) -> Result<Vec<(i64, Option<Told>)>, Internal> {
    if items.is_empty() {
        return Ok(vec![]);
    }
    let mut places = Places::new(engine, Asking { user_id, device_id: None }).await?;
    let mut found = Vec::with_capacity(items.len());
    for item in &items {
        let told = notification::told(engine, user_id, &mut places, item, OLDEST_MS).await?;
        found.push((item.pos(), told));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_looked_up_serves_for_a_moment_and_as_far_as_it_goes() {
        let look = |complete| Look {
            after: 10,
            looked_ms: 5_000,
            items: vec![(11, None), (15, None)],
            complete,
            unread: 0,
            later: None,
        };
        for (complete, after, now_ms, serves) in [
            (true, 10, 5_000, true),
            (true, 9, 5_000, false),
            (true, 15, 5_999, true),
            (true, 15, 6_000, false),
            (false, 14, 5_000, true),
            (false, 15, 5_000, false),
        ] {
            let case = (complete, after, now_ms);
            assert_eq!(look(complete).serves(after, now_ms), serves, "{case:?}");
        }
        assert_eq!(look(true).next(11).unwrap().0, 15);
        assert!(look(true).next(15).is_none());
    }
}
