//! Events that are sent later, unless somebody who knows their name prevents it: so that what a client
//! said ends by itself when the client is gone.
//!
//! They wait in the database. One is sent in the same change in which it ceases to wait, and its name is the
//! transaction under which that happens, so that it is sent once; and whoever does something to one waits
//! for its [`Turns`].
//!
//! <https://github.com/matrix-org/matrix-spec-proposals/pull/4140>

use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    time::Duration,
};

use futures_util::future::join_all;
use ruma::{OwnedDeviceId, OwnedRoomId, OwnedUserId, RoomId, UserId, events::TimelineEventType};
use serde_json::value::RawValue;
use starling_storage::{
    Change, Claim, CommitError,
    accounts::{self, flags},
    delayed_events::{self as rows, DelayedEventRow, Write},
    events::{ClientTransaction, transactions},
    memberships,
};
use tokio::sync::{Mutex, MutexGuard, Notify};

use super::{
    batch::Batch,
    membership::{self, MembershipError, SetStateError},
    send::{self, Message, SendError, SetState, Transaction},
};
use crate::{Engine, internal::Internal, rng};

pub use starling_storage::delayed_events::DelayedEventRow as DelayedEvent;

/// How large the content of an event may be that waits, in bytes: larger ones do not fit into an event.
const LARGEST: usize = 65_000;

/// How many events are taken up at once when they are due.
const PAGE: i64 = 200;

/// In how many rooms events are sent at the same time.
const ROOMS_AT_ONCE: usize = 8;

/// How long it is waited after a failure of ours.
const PAUSE: Duration = Duration::from_secs(5);

/// How long it is waited at most: clocks are set.
const LONGEST_SLEEP: Duration = Duration::from_secs(60);

/// How many turns there are.
const TURNS: u64 = 256;

/// The path of the transactions under which events are sent that have waited.
const SENT: &str = "delayed";

/// What is known of events that wait beside the database.
#[derive(Debug, Default)]
pub struct Delayed {
    /// Wakes whoever sends them.
    wake: Notify,
    turns: Turns,
}

/// Of what two do to the same event, one is done after the other.
#[derive(Debug)]
struct Turns(Vec<Mutex<()>>);

impl Default for Turns {
    fn default() -> Self {
        Self((0..TURNS).map(|_| Mutex::default()).collect())
    }
}

impl Turns {
    async fn of(&self, delay_id: &str) -> Option<MutexGuard<'_, ()>> {
        let mut hasher = DefaultHasher::new();
        delay_id.hash(&mut hasher);
        let turn = self.0.get(usize::try_from(hasher.finish() % TURNS).ok()?)?;
        Some(turn.lock().await)
    }
}

/// An event that is to be sent later.
#[derive(Clone, Debug)]
pub struct Later {
    /// To which room.
    pub room_id: OwnedRoomId,
    /// By whom.
    pub sender: OwnedUserId,
    /// The event type.
    pub kind: TimelineEventType,
    /// The state key of a state event.
    pub state_key: Option<String>,
    /// The content, a JSON object.
    pub content: Box<RawValue>,
    /// After how many milliseconds.
    pub delay_ms: i64,
    /// Under which transaction it is asked for.
    pub transaction: Option<Transaction>,
}

/// Why an event does not wait.
#[derive(Debug, thiserror::Error)]
pub enum DelayError {
    /// There are none here.
    #[error("events are not delayed by this server")]
    Disabled,
    /// It would wait for no time.
    #[error("a delay is a positive number of milliseconds")]
    NoDelay,
    /// It would wait for longer than any may, in milliseconds.
    #[error("events wait for {0} milliseconds at most")]
    TooLong(i64),
    /// So many of the user's wait already.
    #[error("too many of your events wait")]
    TooMany,
    /// The user is not in the room.
    #[error("you are not in this room")]
    NotInRoom,
    /// It is too large for an event.
    #[error("the event is too large")]
    TooLarge,
    /// This server failed.
    #[error(transparent)]
    Internal(#[from] Internal),
}

/// Why nothing is done to an event.
#[derive(Debug, thiserror::Error)]
pub enum ManageError {
    /// None of this name waits.
    #[error("there is no such delayed event")]
    NotFound,
    /// It could not be sent, and waits no more.
    #[error("the event could not be sent: {0}")]
    Refused(Box<SetStateError>),
    /// This server failed.
    #[error(transparent)]
    Internal(#[from] Internal),
}

/// Has an event wait, and gives back its name.
///
/// # Errors
///
/// See [`DelayError`].
pub async fn schedule(engine: &Engine, later: Later) -> Result<String, DelayError> {
    check(engine, &later).await?;
    let delay_id = rng::token::<18>();
    let now = engine.clock.now_ms();
    let mut change = Change::new();
    if let Some(transaction) = &later.transaction {
        change.claim(Claim::Transaction(ClientTransaction {
            request: transaction.request(&later.sender),
            event_id: delay_id.clone(),
            created_ts: now,
        }));
    }
    change.write(Write::Put(DelayedEventRow {
        delay_id: delay_id.clone(),
        user_id: later.sender.to_string(),
        room_id: later.room_id.to_string(),
        kind: later.kind.to_string(),
        state_key: later.state_key,
        content: later.content.get().to_owned(),
        delay_ms: later.delay_ms,
        since_ts: now,
    }));
    match engine.storage.commit(change).await {
        Ok(_) => {
            engine.delayed.wake.notify_one();
            Ok(delay_id)
        }
        Err(CommitError::TransactionTaken(delay_id)) => Ok(delay_id),
        Err(error) => Err(Internal::from(error).into()),
    }
}

async fn check(engine: &Engine, later: &Later) -> Result<(), DelayError> {
    let limits = engine.config.delayed_events;
    if !limits.enabled {
        return Err(DelayError::Disabled);
    }
    if later.delay_ms <= 0 {
        return Err(DelayError::NoDelay);
    }
    if later.delay_ms > limits.longest_ms {
        return Err(DelayError::TooLong(limits.longest_ms));
    }
    if later.content.get().len() > LARGEST {
        return Err(DelayError::TooLarge);
    }
    let mut conn = engine.storage.read().await.map_err(Internal::from)?;
    let user_id = later.sender.as_str();
    let row = memberships::get(&mut conn, user_id, later.room_id.as_str()).await;
    if row.map_err(Internal::from)?.is_none_or(|row| row.membership != "join") {
        return Err(DelayError::NotInRoom);
    }
    let waiting = rows::count(&mut conn, user_id).await.map_err(Internal::from)?;
    if waiting >= limits.most_per_user {
        return Err(DelayError::TooMany);
    }
    Ok(())
}

/// The name that a transaction has given to an event, also when that waits no more.
///
/// # Errors
///
/// When the database fails.
pub async fn named(
    engine: &Engine,
    user_id: &UserId,
    transaction: &Transaction,
) -> Result<Option<String>, Internal> {
    let mut conn = engine.storage.read().await?;
    let (request, now_ms) = (transaction.request(user_id), engine.clock.now_ms());
    Ok(transactions::outcome(&mut conn, request, now_ms).await?)
}

/// The events of a user that wait.
///
/// # Errors
///
/// When the database fails.
pub async fn of_user(engine: &Engine, user_id: &UserId) -> Result<Vec<DelayedEventRow>, Internal> {
    Ok(rows::of_user(&mut engine.storage.read().await?, user_id.as_str()).await?)
}

/// An event that waits.
///
/// # Errors
///
/// When the database fails.
pub async fn get(engine: &Engine, delay_id: &str) -> Result<Option<DelayedEventRow>, Internal> {
    Ok(rows::get(&mut engine.storage.read().await?, delay_id).await?)
}

/// Has an event wait anew, for as long as in the beginning.
///
/// # Errors
///
/// [`ManageError::NotFound`] or [`ManageError::Internal`].
pub async fn restart(engine: &Engine, delay_id: &str) -> Result<(), ManageError> {
    let _turn = engine.delayed.turns.of(delay_id).await;
    let row = get(engine, delay_id).await?.ok_or(ManageError::NotFound)?;
    let since_ts = engine.clock.now_ms();
    write(engine, Write::Put(DelayedEventRow { since_ts, ..row })).await?;
    Ok(())
}

/// Has an event not be sent.
///
/// # Errors
///
/// [`ManageError::NotFound`] or [`ManageError::Internal`].
pub async fn cancel(engine: &Engine, delay_id: &str) -> Result<(), ManageError> {
    let _turn = engine.delayed.turns.of(delay_id).await;
    get(engine, delay_id).await?.ok_or(ManageError::NotFound)?;
    write(engine, Write::Remove { delay_id: delay_id.to_owned() }).await?;
    Ok(())
}

/// Sends an event at once.
///
/// # Errors
///
/// See [`ManageError`].
pub async fn send(engine: &Engine, delay_id: &str) -> Result<(), ManageError> {
    let _turn = engine.delayed.turns.of(delay_id).await;
    let row = get(engine, delay_id).await?.ok_or(ManageError::NotFound)?;
    finish(engine, row).await
}

async fn write(engine: &Engine, row: Write) -> Result<(), Internal> {
    let mut change = Change::new();
    change.write(row);
    engine.storage.commit(change).await?;
    Ok(())
}

/// Sends what is due, until the process shuts down. What became due while none ran is sent at the start.
pub async fn run(engine: Engine) {
    loop {
        let sleep = match send_due(&engine).await {
            Ok(sleep) => sleep,
            Err(error) => {
                tracing::warn!(%error, "delayed events could not be sent yet");
                PAUSE
            }
        };
        tokio::select! {
            () = engine.shutdown.cancelled() => return,
            () = engine.delayed.wake.notified() => {}
            () = tokio::time::sleep(sleep) => {}
        }
    }
}

/// Sends all that is due, and says how long there is nothing to do.
async fn send_due(engine: &Engine) -> Result<Duration, Internal> {
    loop {
        if engine.shutdown.is_cancelled() {
            return Ok(Duration::ZERO);
        }
        let now = engine.clock.now_ms();
        let mut conn = engine.storage.read().await?;
        let due = rows::due(&mut conn, now, PAGE).await?;
        if due.is_empty() {
            let next = rows::next_due(&mut conn).await?;
            let next = next.map(|next| u64::try_from(next.saturating_sub(now)).unwrap_or(0));
            return Ok(next.map_or(LONGEST_SLEEP, Duration::from_millis).min(LONGEST_SLEEP));
        }
        drop(conn);
        let mut by_room: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for row in due {
            by_room.entry(row.room_id).or_default().push(row.delay_id);
        }
        let by_room: Vec<Vec<String>> = by_room.into_values().collect();
        for rooms in by_room.chunks(ROOMS_AT_ONCE) {
            let sent = join_all(rooms.iter().map(|ids| send_in_order(engine, ids))).await;
            sent.into_iter().collect::<Result<(), _>>()?;
        }
    }
}

/// Sends the events of one room that are due.
async fn send_in_order(engine: &Engine, ids: &[String]) -> Result<(), Internal> {
    for delay_id in ids {
        let _turn = engine.delayed.turns.of(delay_id).await;
        // It may have been made to wait anew, or sent or cancelled.
        let row = get(engine, delay_id).await?;
        let Some(row) = row.filter(|row| row.due_ts() <= engine.clock.now_ms()) else { continue };
        match finish(engine, row).await {
            Ok(()) | Err(ManageError::NotFound | ManageError::Refused(_)) => {}
            Err(ManageError::Internal(error)) => return Err(error),
        }
    }
    Ok(())
}

/// Sends an event, whose turn the caller holds. It waits no more then, unless this server failed.
async fn finish(engine: &Engine, row: DelayedEventRow) -> Result<(), ManageError> {
    let delay_id = row.delay_id.clone();
    let outcome = match send_as_user(engine, row).await {
        Ok(()) => Ok(()),
        Err(
            SetStateError::Send(SendError::Internal(error))
            | SetStateError::Membership(MembershipError::Internal(error)),
        ) => return Err(error.into()),
        Err(error) => {
            tracing::info!(delay_id, reason = %error, "a delayed event was not sent");
            Err(ManageError::Refused(Box::new(error)))
        }
    };
    write(engine, Write::Remove { delay_id }).await?;
    outcome
}

/// Notes with an event that is sent under a transaction that it waits no more, if it did.
pub(super) fn note_sent(batch: &mut Batch, transaction: &Transaction) {
    if transaction.path == SENT && transaction.device_id.as_str().is_empty() {
        batch.change.write(Write::Remove { delay_id: transaction.txn_id.clone() });
    }
}

async fn send_as_user(engine: &Engine, row: DelayedEventRow) -> Result<(), SetStateError> {
    let internal = |error: Internal| SetStateError::Send(error.into());
    let sender = UserId::parse(&row.user_id).map_err(|error| internal(error.into()))?;
    let room_id = RoomId::parse(&row.room_id).map_err(|error| internal(error.into()))?;
    let content = RawValue::from_string(row.content).map_err(|error| internal(error.into()))?;
    let set = flags_of(engine, &sender).await.map_err(internal)?;
    if set & flags::SHADOW_BANNED != 0 {
        // What they send reaches nobody, and they are not told.
        return Ok(());
    }
    if set & (flags::LOCKED | flags::SUSPENDED) != 0 {
        let reason = "the account may not send events now".to_owned();
        return Err(SendError::Forbidden(reason).into());
    }
    let device_id = OwnedDeviceId::from("");
    let transaction = Transaction { device_id, path: SENT.to_owned(), txn_id: row.delay_id };
    match row.state_key {
        Some(state_key) => {
            let kind = row.kind.into();
            let state = SetState { room_id, sender, kind, state_key, content, ts: None };
            membership::set_state_once(engine, state, Some(&transaction)).await?;
        }
        None => {
            let kind = row.kind.into();
            let transaction = Some(transaction);
            let message = Message { room_id, sender, kind, content, ts: None, transaction };
            send::message(engine, message).await?;
        }
    }
    Ok(())
}

/// The flags of an account; one that is closed counts as locked.
async fn flags_of(engine: &Engine, user_id: &UserId) -> Result<i16, Internal> {
    let mut conn = engine.storage.read().await?;
    let account = accounts::user(&mut conn, user_id.as_str()).await?;
    // Users of application services have no account.
    Ok(account.map_or(0, |account| match account.deactivated_ts {
        Some(_) => account.flags | flags::LOCKED,
        None => account.flags,
    }))
}

#[cfg(test)]
mod tests;
