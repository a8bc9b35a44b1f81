//! Saying something in a room: messages, state, redactions.

mod ahead;
pub mod answering;
pub mod guests;
mod policed;
mod related;
mod with_related;

pub use with_related::redact_with_related;

use std::{collections::BTreeMap, sync::Arc};

use ruma::{
    EventId, OwnedDeviceId, OwnedEventId, OwnedRoomId, OwnedUserId, RoomId, UserId,
    events::{StateEventType, TimelineEventType},
};
use serde::de::IgnoredAny;
use serde_json::value::{RawValue, to_raw_value};
use starling_storage::events::{ClientRequest, ClientTransaction, SentBy, transactions};

use super::{
    authorize::Denied,
    batch::{Batch, BatchError, MAX_ATTEMPTS},
    blocked,
    build::{self, BuildError, Draft},
    canonical_alias::{self, AliasProblem},
    delayed,
    policy::PolicyError,
    power::{self, Action, Powers},
    room::{self, RoomGuard},
};
use crate::{
    Engine,
    events::{Canonical, Pdu, store},
    internal::Internal,
    presence,
};

/// Why something was not said.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// There is no such room, or not for this user.
    #[error("you are not in this room")]
    NotInRoom,
    /// The rules of the room do not allow it.
    #[error("{0}")]
    Forbidden(String),
    /// The content is not what the event type or the room version takes.
    #[error("{0}")]
    BadContent(String),
    /// The event is too large.
    #[error("the event is too large")]
    TooLarge,
    /// The event to be redacted is not known, and the user may redact their own events only.
    #[error("no such event")]
    NoSuchEvent,
    /// What should be an alias is none.
    #[error("{0}")]
    MalformedAlias(String),
    /// An alias is not an alias of this room.
    #[error("{0} does not name this room")]
    BadAlias(String),
    /// The event is not the sender's own, and nothing else may be redacted now.
    #[error("you may redact your own events only")]
    OwnOnly,
    /// The sender is a guest, and the room lets no guests in.
    #[error("guests are not let in here")]
    GuestsForbidden,
    /// The event would begin a thread with one that relates to another.
    #[error("a thread cannot begin with an event that relates to another")]
    NoThreadRoot,
    /// The user has annotated the event in the same way already.
    #[error("you have annotated the event with this already")]
    DuplicateAnnotation,
    /// A name that was to be taken is taken.
    #[error("the name is taken")]
    NameTaken,
    /// The room's policy server has not signed it.
    #[error(transparent)]
    Policy(PolicyError),
    /// This server failed.
    #[error(transparent)]
    Internal(#[from] Internal),
}

impl From<PolicyError> for SendError {
    fn from(error: PolicyError) -> Self {
        match error {
            PolicyError::Internal(error) => Self::Internal(error),
            error => Self::Policy(error),
        }
    }
}

impl From<BuildError> for SendError {
    fn from(error: BuildError) -> Self {
        match error {
            BuildError::BadContent(reason) => Self::BadContent(reason),
            BuildError::TooLarge => Self::TooLarge,
            BuildError::Denied(Denied::Missing(id)) => {
                Self::Internal(Internal::Damaged(format!("auth event {id} is missing")))
            }
            BuildError::Denied(Denied::Event(reason) | Denied::State(reason)) => {
                Self::Forbidden(reason)
            }
            BuildError::Internal(error) => Self::Internal(error),
        }
    }
}

impl From<AliasProblem> for SendError {
    fn from(problem: AliasProblem) -> Self {
        match problem {
            AliasProblem::Malformed(reason) => Self::MalformedAlias(reason),
            AliasProblem::NotThisRoom(alias) => Self::BadAlias(alias),
            AliasProblem::Internal(error) => Self::Internal(error),
        }
    }
}

/// A request that has the same effect however often a device makes it.
#[derive(Clone, Debug)]
pub struct Transaction {
    /// The device that asks.
    pub device_id: OwnedDeviceId,
    /// The path of the endpoint, without the transaction's ID.
    pub path: String,
    /// The client's ID for the request.
    pub txn_id: String,
}

impl Transaction {
    /// The request of a user under this transaction.
    pub(super) fn request(&self, user_id: &UserId) -> ClientRequest {
        ClientRequest::new(user_id.as_str(), self.device_id.as_str(), &self.path, &self.txn_id)
    }

    /// By whom events are sent under it.
    fn sent_by(&self) -> Box<SentBy> {
        Box::new(SentBy { device_id: self.device_id.to_string(), txn_id: self.txn_id.clone() })
    }
}

/// Something to be said.
#[derive(Clone, Debug)]
pub struct Message {
    /// In which room.
    pub room_id: OwnedRoomId,
    /// By whom.
    pub sender: OwnedUserId,
    /// The event type.
    pub kind: TimelineEventType,
    /// The content, a JSON object.
    pub content: Box<RawValue>,
    /// The time of the event instead of the present, for application services.
    pub ts: Option<i64>,
    /// Under which transaction.
    pub transaction: Option<Transaction>,
}

/// Sends a message event. A redaction (`m.room.redaction` with `redacts` in its content) may be sent
/// this way in every room version.
///
/// # Errors
///
/// See [`SendError`].
pub async fn message(engine: &Engine, message: Message) -> Result<OwnedEventId, SendError> {
    let Message { room_id, sender, kind, content, ts, transaction } = message;
    if kind == TimelineEventType::RoomRedaction {
        let redacts = build::content_field(&content, "redacts");
        let target = redacts.and_then(|id| OwnedEventId::try_from(id).ok());
        let target = target.ok_or_else(|| SendError::BadContent("`redacts` is missing".into()))?;
        return redact(
            engine,
            Redaction { room_id, sender, own_only: false, target, content, ts, transaction },
        )
        .await;
    }
    let draft = Draft { sender, kind, state_key: None, content, redacts: None, ts };
    one(engine, &room_id, &draft, transaction.as_ref()).await
}

/// A state event to be set.
#[derive(Clone, Debug)]
pub struct SetState {
    /// In which room.
    pub room_id: OwnedRoomId,
    /// By whom.
    pub sender: OwnedUserId,
    /// The event type.
    pub kind: StateEventType,
    /// The state key.
    pub state_key: String,
    /// The content, a JSON object.
    pub content: Box<RawValue>,
    /// The time of the event instead of the present, for application services.
    pub ts: Option<i64>,
}

/// Sets state. What is so already stays, and is answered with the event that made it so.
///
/// Invites of users of other servers are not for this function: see [`super::membership`].
///
/// # Errors
///
/// See [`SendError`].
pub async fn state(engine: &Engine, state: SetState) -> Result<OwnedEventId, SendError> {
    state_once(engine, state, None).await
}

/// As [`state`], under a transaction.
///
/// # Errors
///
/// See [`SendError`].
pub async fn state_once(
    engine: &Engine,
    state: SetState,
    transaction: Option<&Transaction>,
) -> Result<OwnedEventId, SendError> {
    let SetState { room_id, sender, kind, state_key, content, ts } = state;
    if kind == StateEventType::RoomCreate {
        return Err(SendError::BadContent("a room is created once".to_owned()));
    }
    if kind == StateEventType::RoomCanonicalAlias && state_key.is_empty() {
        canonical_alias::check(engine, &room_id, &content).await?;
    }
    if kind == StateEventType::RoomPowerLevels && state_key.is_empty() {
        check_creators_unlisted(engine, &room_id, &content).await?;
    }
    let kind = TimelineEventType::from(kind);
    let draft = Draft { sender, kind, state_key: Some(state_key), content, redacts: None, ts };
    one(engine, &room_id, &draft, transaction).await
}

/// Since room version 12 power levels have no place for those who made the room.
async fn check_creators_unlisted(
    engine: &Engine,
    room_id: &RoomId,
    content: &RawValue,
) -> Result<(), SendError> {
    #[derive(serde::Deserialize)]
    struct Levels {
        users: BTreeMap<String, IgnoredAny>,
    }
    let room = room::load(engine, room_id).await?.ok_or(SendError::NotInRoom)?;
    let rules = room.rules().authorization.clone();
    // What has another form is refused by the rules.
    let Ok(Levels { users }) = serde_json::from_str(content.get()) else { return Ok(()) };
    if !rules.explicitly_privilege_room_creators {
        return Ok(());
    }
    let batch = Batch::new(engine, &room);
    let state = batch.state(room.row.current_state, &power::state_keys()).await?;
    match Powers::new(&state, &rules).creators().iter().find(|id| users.contains_key(id.as_str())) {
        Some(creator) => Err(SendError::BadContent(format!("{creator} made the room"))),
        None => Ok(()),
    }
}

/// An event to be redacted.
#[derive(Clone, Debug)]
pub struct Redaction {
    /// In which room.
    pub room_id: OwnedRoomId,
    /// By whom.
    pub sender: OwnedUserId,
    /// Whether only the sender's own events may be redacted, as while they are suspended.
    pub own_only: bool,
    /// The event.
    pub target: OwnedEventId,
    /// The content of the redaction, a JSON object; `redacts` in it is ignored.
    pub content: Box<RawValue>,
    /// The time of the event instead of the present, for application services.
    pub ts: Option<i64>,
    /// Under which transaction.
    pub transaction: Option<Transaction>,
}

/// Redacts an event: one's own, or with the power for it anybody's.
///
/// # Errors
///
/// See [`SendError`].
pub async fn redact(engine: &Engine, redaction: Redaction) -> Result<OwnedEventId, SendError> {
    let Redaction { room_id, sender, own_only, target, content, ts, transaction } = redaction;
    if let Some(done) = done_before(engine, &sender, transaction.as_ref()).await? {
        return Ok(done);
    }
    check_redaction(engine, &room_id, &sender, &target, own_only).await?;
    let content = without(&content, "redacts")?;
    let kind = TimelineEventType::RoomRedaction;
    let draft = Draft { sender, kind, state_key: None, content, redacts: Some(target), ts };
    one(engine, &room_id, &draft, transaction.as_ref()).await
}

/// What the rules of newer room versions leave to the server of who redacts.
async fn check_redaction(
    engine: &Engine,
    room_id: &RoomId,
    sender: &UserId,
    target: &EventId,
    own_only: bool,
) -> Result<(), SendError> {
    let room = room::load(engine, room_id).await?.ok_or(SendError::NotInRoom)?;
    let target = store::get(engine, room_id, target).await?;
    if target.as_ref().is_some_and(|target| target.pdu.sender == sender) {
        return Ok(());
    }
    if own_only {
        return Err(SendError::OwnOnly);
    }
    if target.as_ref().is_some_and(|target| target.pdu.kind == TimelineEventType::RoomCreate) {
        return Err(SendError::Forbidden("a room cannot be uncreated".to_owned()));
    }
    let batch = Batch::new(engine, &room);
    let state = batch.state(room.row.current_state, &power::state_keys()).await?;
    match Powers::new(&state, &room.rules().authorization).allow(sender, Action::Redact) {
        // Of an event that others have and we do not, it becomes true when the event comes.
        true => Ok(()),
        false if target.is_none() => Err(SendError::NoSuchEvent),
        false => Err(SendError::Forbidden("you may redact your own events only".to_owned())),
    }
}

fn without(content: &RawValue, field: &str) -> Result<Box<RawValue>, SendError> {
    let bad = |error: serde_json::Error| SendError::BadContent(error.to_string());
    let mut content: BTreeMap<String, &RawValue> =
        serde_json::from_str(content.get()).map_err(bad)?;
    content.remove(field);
    to_raw_value(&content).map_err(bad)
}

/// What came of a transaction when it was made before.
async fn done_before(
    engine: &Engine,
    user_id: &UserId,
    transaction: Option<&Transaction>,
) -> Result<Option<OwnedEventId>, Internal> {
    let Some(transaction) = transaction else { return Ok(None) };
    let mut conn = engine.storage.read().await?;
    let (request, now_ms) = (transaction.request(user_id), engine.clock.now_ms());
    let done = transactions::outcome(&mut conn, request, now_ms).await?;
    Ok(done.map(TryInto::try_into).transpose()?)
}

/// Makes one event and commits it.
pub(super) async fn one(
    engine: &Engine,
    room_id: &RoomId,
    draft: &Draft,
    transaction: Option<&Transaction>,
) -> Result<OwnedEventId, SendError> {
    if let Some(event_id) = ahead::one(engine, room_id, draft, transaction).await? {
        return Ok(event_id);
    }
    let mut guard = room::lock(engine, room_id).await?.ok_or(SendError::NotInRoom)?;
    if let Some(done) = done_before(engine, &draft.sender, transaction).await? {
        return Ok(done);
    }
    if let Some(server) = policed::to_ask(engine, &guard, draft).await? {
        return policed::one(engine, guard, draft, transaction, &server).await;
    }
    for _ in 0..MAX_ATTEMPTS {
        match attempt(engine, &mut guard, draft, transaction).await? {
            Some(event_id) => {
                drop(guard);
                presence::note_active(engine, &draft.sender).await;
                return Ok(event_id);
            }
            None => continue,
        }
    }
    Err(SendError::Internal(Internal::Damaged(format!("{room_id} changes too fast"))))
}

/// `None` when another process was faster.
async fn attempt(
    engine: &Engine,
    guard: &mut RoomGuard,
    draft: &Draft,
    transaction: Option<&Transaction>,
) -> Result<Option<OwnedEventId>, SendError> {
    let mut batch = Batch::new(engine, guard);
    let before = prepare(&batch, draft).await?;
    batch.sent_by = transaction.map(Transaction::sent_by);
    let pdu = build::author(&mut batch, draft).await?;
    if let Some(same) = before.filter(|before| says_the_same(before, &pdu, guard)) {
        return Ok(Some(same.event_id.clone()));
    }
    note_transaction(&mut batch, &pdu, transaction);
    match batch.commit(guard).await {
        Ok(_) => Ok(Some(pdu.event_id.clone())),
        Err(BatchError::TransactionTaken(event_id)) => Ok(Some(event_id)),
        Err(BatchError::Conflict) => Ok(None),
        Err(BatchError::NameTaken) => Err(SendError::NameTaken),
        Err(BatchError::Internal(error)) => Err(error.into()),
    }
}

/// Checks what is not for the rules of the room, and gives back the state event that would be replaced.
async fn prepare(batch: &Batch, draft: &Draft) -> Result<Option<Arc<Pdu>>, SendError> {
    let before = current(batch, draft).await?;
    related::check(&batch.engine, &batch.room.id, draft).await?;
    guests::check(batch, draft).await?;
    check_open(batch, draft, before.as_deref()).await?;
    Ok(before)
}

/// That nobody gets into a room that administrators have blocked, before they had all who were in it
/// leave; those may still say what they are called.
async fn check_open(batch: &Batch, draft: &Draft, before: Option<&Pdu>) -> Result<(), SendError> {
    let membership = before.and_then(|before| before.content_str("membership"));
    if !draft.is_join() || membership.as_deref() == Some("join") {
        return Ok(());
    }
    match blocked::by_whom(&batch.engine, &batch.room.id).await? {
        None => Ok(()),
        Some(_) => Err(SendError::Forbidden("this room is blocked on this server".to_owned())),
    }
}

/// The state event that a draft would replace.
async fn current(batch: &Batch, draft: &Draft) -> Result<Option<Arc<Pdu>>, Internal> {
    let Some(state_key) = draft.state_key.clone() else { return Ok(None) };
    let key = (StateEventType::from(draft.kind.to_string()), state_key);
    let mut state = batch.state(batch.room.row.current_state, std::slice::from_ref(&key)).await?;
    Ok(state.remove(&key))
}

fn says_the_same(before: &Pdu, new: &Pdu, room: &room::Room) -> bool {
    let content = |pdu: &Pdu| Canonical::parse(pdu.content.get(), room.rules()).ok();
    before.sender == new.sender && content(before) == content(new)
}

/// Requires that the transaction was not made before.
fn note_transaction(batch: &mut Batch, pdu: &Pdu, transaction: Option<&Transaction>) {
    let Some(transaction) = transaction else { return };
    batch.claim_transaction(ClientTransaction {
        request: transaction.request(&pdu.sender),
        event_id: pdu.event_id.to_string(),
        created_ts: batch.engine.clock.now_ms(),
    });
    delayed::note_sent(batch, transaction);
}

#[cfg(test)]
mod tests;
