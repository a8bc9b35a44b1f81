//! Which threads a user follows: by their own will, or because a client of theirs thinks that they
//! want to.
//!
//! <https://github.com/matrix-org/matrix-spec-proposals/pull/4306>, and the list of changes of
//! <https://github.com/matrix-org/matrix-spec-proposals/pull/4308>. Push rules ask for it where that is
//! configured.

use std::collections::BTreeMap;

use ruma::{EventId, RoomId, UserId};
use serde::Serialize;
use starling_storage::{
    Change, Fact,
    subscriptions::{self as rows, SubscriptionRow, Write},
};

use super::{
    access::{Asking, ReadError},
    context,
};
use crate::{
    Engine, Internal,
    events::Pdu,
    rooms::append::{relations, unread},
};

/// How many threads a user may follow.
const MOST: i64 = 20_000;

/// How many changes a page has when the client does not say.
const DEFAULT_LIMIT: u64 = 100;

/// How many changes a page has at most.
const LARGEST_LIMIT: u64 = 1000;

/// Why a thread is not followed.
#[derive(Debug, thiserror::Error)]
pub enum SubscribeError {
    /// There is no such thread, or not for this user.
    #[error("there is no such thread")]
    NoSuchThread,
    /// The event because of which it is to be followed is not in the thread.
    #[error("the event is not in this thread")]
    NotInThread,
    /// The user left the thread after that event.
    #[error("the thread was left after that event")]
    LeftSince,
    /// The user follows too many threads.
    #[error("too many threads are followed")]
    TooMany,
    /// This server failed.
    #[error(transparent)]
    Internal(#[from] Internal),
}

impl From<ReadError> for SubscribeError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Internal(error) => Self::Internal(error),
            _ => Self::NoSuchThread,
        }
    }
}

/// A thread.
#[derive(Clone, Copy, Debug)]
pub struct Thread<'a> {
    /// The room.
    pub room_id: &'a RoomId,
    /// The event with which it begins.
    pub root: &'a EventId,
}

/// Follows a thread: by the user's will, or because of an event in it.
///
/// # Errors
///
/// See [`SubscribeError`].
pub async fn subscribe(
    engine: &Engine,
    asking: Asking<'_>,
    thread: Thread<'_>,
    because_of: Option<&EventId>,
) -> Result<(), SubscribeError> {
    context::find(engine, asking, thread.room_id, thread.root).await?;
    let known = known(engine, asking.user_id, thread).await?;
    if let Some(cause) = because_of {
        let pos = cause_pos(engine, asking, thread, cause).await?;
        match known.as_ref().map(|row| row.unsubscribed_pos) {
            // Nothing that a client thinks changes what the user said.
            Some(None) => return Ok(()),
            Some(Some(left)) if pos <= left => return Err(SubscribeError::LeftSince),
            _ => {}
        }
    }
    if known.is_none() {
        let mut conn = engine.storage.read().await.map_err(Internal::from)?;
        let count = rows::count(&mut conn, asking.user_id.as_str()).await;
        if count.map_err(Internal::from)? >= MOST {
            return Err(SubscribeError::TooMany);
        }
    }
    put(engine, asking.user_id, thread, because_of.is_some(), None).await?;
    Ok(())
}

/// Follows a thread no more. Who does not follow it changes nothing.
///
/// # Errors
///
/// When the database fails.
pub async fn unsubscribe(
    engine: &Engine,
    user_id: &UserId,
    thread: Thread<'_>,
) -> Result<(), Internal> {
    let known = known(engine, user_id, thread).await?;
    let Some(row) = known.filter(|row| row.unsubscribed_pos.is_none()) else { return Ok(()) };
    let head = engine.storage.feed().head();
    put(engine, user_id, thread, row.automatic, Some(head)).await
}

/// Whether a user follows a thread, and if so whether automatically.
///
/// # Errors
///
/// See [`SubscribeError`].
pub async fn get(
    engine: &Engine,
    asking: Asking<'_>,
    thread: Thread<'_>,
) -> Result<Option<bool>, SubscribeError> {
    context::find(engine, asking, thread.room_id, thread.root).await?;
    let row = known(engine, asking.user_id, thread).await?;
    Ok(row.filter(|row| row.unsubscribed_pos.is_none()).map(|row| row.automatic))
}

/// Whether a user follows the thread that an event says it belongs to, as far as push rules ask for it.
///
/// # Errors
///
/// When the database fails.
pub(super) async fn follows(
    engine: &Engine,
    user_id: &UserId,
    pdu: &Pdu,
) -> Result<bool, Internal> {
    let root = unread::thread_root(pdu).filter(|_| engine.config.push.follow_threads);
    let Some(root) = root else { return Ok(false) };
    let row = known(engine, user_id, Thread { room_id: &pdu.room_id, root: &root }).await?;
    Ok(row.is_some_and(|row| row.unsubscribed_pos.is_none()))
}

async fn known(
    engine: &Engine,
    user_id: &UserId,
    thread: Thread<'_>,
) -> Result<Option<SubscriptionRow>, Internal> {
    let mut conn = engine.storage.read().await?;
    let (room_id, root) = (thread.room_id.as_str(), thread.root.as_str());
    Ok(rows::get(&mut conn, user_id.as_str(), room_id, root).await?)
}

/// The position of the event because of which a thread is to be followed.
async fn cause_pos(
    engine: &Engine,
    asking: Asking<'_>,
    thread: Thread<'_>,
    cause: &EventId,
) -> Result<i64, SubscribeError> {
    let found = context::find(engine, asking, thread.room_id, cause).await;
    let (_, seen, _) = found.map_err(|error| match error {
        ReadError::Internal(error) => SubscribeError::Internal(error),
        _ => SubscribeError::NotInThread,
    })?;
    let relation = relations::of(&seen.event.pdu);
    let in_thread = relation.is_some_and(|relation| {
        relation.rel_type == "m.thread" && relation.event_id == *thread.root
    });
    match in_thread {
        true => Ok(seen.pos),
        false => Err(SubscribeError::NotInThread),
    }
}

async fn put(
    engine: &Engine,
    user_id: &UserId,
    thread: Thread<'_>,
    automatic: bool,
    unsubscribed_pos: Option<i64>,
) -> Result<(), Internal> {
    let mut change = Change::new();
    let (user_id, room_id) = (user_id.to_string(), thread.room_id.to_string());
    let at = change.fact(Fact::Subscription { user_id: user_id.clone(), room_id: room_id.clone() });
    let thread_root = thread.root.to_string();
    let row =
        SubscriptionRow { user_id, room_id, thread_root, automatic, unsubscribed_pos, pos: 0 };
    change.write(Write::Put { row, at });
    engine.storage.commit(change).await?;
    Ok(())
}

/// Which changes are wanted.
#[derive(Clone, Copy, Debug, Default)]
pub struct ChangesRequest {
    /// The newest position that is wanted.
    pub from: Option<i64>,
    /// The newest position that is not wanted.
    pub to: Option<i64>,
    /// How many at most.
    pub limit: Option<u64>,
}

/// A page of changes, as it is answered: by room and by thread.
#[derive(Debug, Default, Serialize)]
pub struct Changes {
    /// Threads that are followed.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub subscribed: BTreeMap<String, BTreeMap<String, Subscribed>>,
    /// Threads that are followed no more.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub unsubscribed: BTreeMap<String, BTreeMap<String, Unsubscribed>>,
    /// Where the next page begins; `None`: there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end: Option<String>,
}

/// A thread that is followed.
#[derive(Debug, Serialize)]
pub struct Subscribed {
    /// Whether a client, not the user, wanted it.
    pub automatic: bool,
    /// Of two changes of a thread, the one with the greater number is newer.
    pub bump_stamp: i64,
}

/// A thread that is followed no more.
#[derive(Debug, Serialize)]
pub struct Unsubscribed {
    /// As in [`Subscribed`].
    pub bump_stamp: i64,
}

/// Lists what changed, the newest first.
///
/// # Errors
///
/// When the database fails.
pub async fn changes(
    engine: &Engine,
    user_id: &UserId,
    request: ChangesRequest,
) -> Result<Changes, Internal> {
    let limit = request.limit.unwrap_or(DEFAULT_LIMIT).clamp(1, LARGEST_LIMIT);
    let (after, until) = (request.to.unwrap_or(0), request.from.unwrap_or(i64::MAX));
    let mut conn = engine.storage.read().await?;
    let asked = i64::try_from(limit).unwrap_or(i64::MAX).saturating_add(1);
    let mut found = rows::changed(&mut conn, user_id.as_str(), after, until, asked).await?;
    let more = found.len() as u64 > limit;
    found.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    let last = found.last().filter(|_| more).map(|row| row.pos.saturating_sub(1));
    let mut changes = Changes { end: last.map(|pos| pos.to_string()), ..Changes::default() };
    for SubscriptionRow { room_id, thread_root, automatic, unsubscribed_pos, pos, .. } in found {
        let bump_stamp = pos;
        if unsubscribed_pos.is_none() {
            let room = changes.subscribed.entry(room_id).or_default();
            room.insert(thread_root, Subscribed { automatic, bump_stamp });
        } else {
            let room = changes.unsubscribed.entry(room_id).or_default();
            room.insert(thread_root, Unsubscribed { bump_stamp });
        }
    }
    Ok(changes)
}
