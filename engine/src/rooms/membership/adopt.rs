//! Taking over a room that a user of ours has joined by another server: its state, as that server
//! gave it and as far as it holds, and the join.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use ruma::{OwnedEventId, events::StateEventType};
use serde::Deserialize;
use serde_json::value::RawValue;
use starling_storage::events::flags;

use super::{MembershipError, remote::Made};
use crate::{
    Engine,
    at_most::AtMost,
    events::{Canonical, Pdu},
    internal::Internal,
    rooms::{
        append::{self, Disposition, NewEvent},
        batch::{Batch, BatchError, MAX_ATTEMPTS},
        blocked,
        receive::{
            intake,
            judge::{self, Judged},
            outliers,
        },
        room::{self, Room, RoomGuard},
    },
    state::StateKey,
};

/// How many events a room may be taken over with.
const MAX_EVENTS: usize = 250_000;

/// The answer to `send_join`.
#[derive(Deserialize)]
pub struct JoinedRoom {
    state: AtMost<Box<RawValue>, MAX_EVENTS>,
    auth_chain: AtMost<Box<RawValue>, MAX_EVENTS>,
    event: Option<Box<RawValue>>,
}

/// A room that is to be taken over, verified but not judged.
struct Verified {
    join: Arc<Pdu>,
    state: Vec<Arc<Pdu>>,
    all: HashMap<OwnedEventId, Arc<Pdu>>,
}

/// Takes over a room.
///
/// # Errors
///
/// [`MembershipError::RemoteFailed`] when what the server gave does not hold.
pub async fn room(
    engine: &Engine,
    made: &Made,
    answer: JoinedRoom,
) -> Result<OwnedEventId, MembershipError> {
    let verified = verify(engine, made, answer).await?;
    let room_id = &made.pdu.room_id;
    for _ in 0..MAX_ATTEMPTS {
        let place = room::place(engine, room_id).await;
        // Whoever blocked the room meanwhile may have begun to remove it.
        blocked::check(engine, room_id).await?;
        let (mut guard, is_new) = match place.room(engine).await? {
            Ok(guard) => (guard, false),
            Err(place) => {
                let room = Room::new(room_id.clone(), made.version.clone(), made.rules.clone());
                (place.put(room), true)
            }
        };
        match attempt(engine, &mut guard, is_new, &verified).await {
            Ok(()) => return Ok(verified.join.event_id.clone()),
            Err(Failed::Batch(BatchError::Conflict | BatchError::NameTaken)) => {}
            Err(Failed::Batch(BatchError::Internal(error))) => return Err(error.into()),
            Err(Failed::Batch(error)) => return Err(Internal::Damaged(error.to_string()).into()),
            Err(Failed::Refused(reason)) => return Err(MembershipError::RemoteFailed(reason)),
        }
    }
    Err(Internal::Damaged(format!("{room_id} changes too fast")).into())
}

/// Reads the events and checks formats, signatures and hashes.
async fn verify(
    engine: &Engine,
    made: &Made,
    answer: JoinedRoom,
) -> Result<Verified, MembershipError> {
    let JoinedRoom { state: AtMost(state), auth_chain: AtMost(auth_chain), event } = answer;
    if state.len() + auth_chain.len() > MAX_EVENTS {
        return Err(MembershipError::RemoteFailed(format!("more than {MAX_EVENTS} events")));
    }
    let (room_id, rules) = (&made.pdu.room_id, &made.rules);
    let mut all = HashMap::new();
    let in_state = verified(engine, made, state).await?;
    for pdu in in_state.iter().cloned().chain(verified(engine, made, auth_chain).await?) {
        all.insert(pdu.event_id.clone(), pdu);
    }
    let join = match event {
        Some(event) => countersigned(made, &event).unwrap_or_else(|| made.pdu.clone()),
        None => made.pdu.clone(),
    };
    check_create(&in_state, made).map_err(MembershipError::RemoteFailed)?;
    tracing::info!(room.id = %room_id, events = all.len(), version = ?rules.disposition,
        "A room is taken over");
    Ok(Verified { join, state: in_state, all })
}

async fn verified(
    engine: &Engine,
    made: &Made,
    pdus: Vec<Box<RawValue>>,
) -> Result<Vec<Arc<Pdu>>, Internal> {
    let taken = intake::take(engine, &made.pdu.room_id, &made.rules, &pdus).await?;
    let mut events = Vec::with_capacity(taken.len());
    for outcome in taken {
        match outcome {
            Ok(pdu) => events.push(pdu),
            Err(refused) => tracing::info!(
                server.name = %made.server, event.id = ?refused.event_id, reason = refused.reason,
                "An event of a joined room is dropped"
            ),
        }
    }
    Ok(events)
}

/// Our event with the signature of who let us in; `None` when it is another event.
pub(super) fn countersigned(made: &Made, event: &RawValue) -> Option<Arc<Pdu>> {
    let pdu = Pdu::from_json(event.get(), &made.rules).ok()?;
    let content = |pdu: &Pdu| {
        let event = Canonical::parse(pdu.json.get(), &made.rules).ok()?;
        event.text_without(None, &["signatures", "unsigned"]).ok()
    };
    let ours = serde_json::from_str::<Signatures>(made.pdu.json.get()).ok()?;
    let theirs = serde_json::from_str::<Signatures>(pdu.json.get()).ok()?;
    let keeps_ours = ours.signatures.iter().all(|(server, signature)| {
        theirs.signatures.get(server).is_some_and(|theirs| theirs == signature)
    });
    let same = pdu.event_id == made.pdu.event_id && content(&pdu) == content(&made.pdu);
    (same && keeps_ours).then(|| Arc::new(pdu))
}

#[derive(Deserialize)]
struct Signatures {
    signatures: HashMap<String, serde_json::Value>,
}

/// The room must be of the version that we made the event for.
fn check_create(state: &[Arc<Pdu>], made: &Made) -> Result<(), String> {
    let key = (StateEventType::RoomCreate, String::new());
    let create = state.iter().find(|pdu| pdu.key().as_ref() == Some(&key));
    let create = create.ok_or("the state has no create event")?;
    let version = create.content_str("room_version").unwrap_or_else(|| "1".to_owned());
    if version == made.version.as_str() {
        return Ok(());
    }
    Err(format!("the room is of version {version}, not {}", made.version))
}

enum Failed {
    Batch(BatchError),
    Refused(String),
}

impl<E: Into<BatchError>> From<E> for Failed {
    fn from(error: E) -> Self {
        Self::Batch(error.into())
    }
}

async fn attempt(
    engine: &Engine,
    guard: &mut RoomGuard,
    is_new: bool,
    verified: &Verified,
) -> Result<(), Failed> {
    let mut batch = if is_new { Batch::first(engine, guard) } else { Batch::new(engine, guard) };
    outliers::add(&mut batch, &verified.all).await?;
    let root = given_state(&mut batch, &verified.state).await?;
    // A room in which we are already has a state that is better than any answer.
    let resident = !is_new && super::local::is_resident(engine, &guard.id).await?;
    if !resident {
        batch.room.extremities.clear();
        append::adopt_state(&mut batch, root).await?;
    }
    match judge::judge(&mut batch, &verified.join, Some(root)).await? {
        Judged::Ready(new @ NewEvent { disposition: Disposition::Accepted, .. }) => {
            append::append(&mut batch, new).await?;
        }
        Judged::Known => return Ok(()),
        other => return Err(Failed::Refused(format!("the join does not hold: {other:?}"))),
    }
    batch.commit(guard).await?;
    Ok(())
}

/// The state before the join: what the server says, without what the rules reject.
async fn given_state(batch: &mut Batch, state: &[Arc<Pdu>]) -> Result<i64, Internal> {
    let ids: Vec<OwnedEventId> = state.iter().map(|pdu| pdu.event_id.clone()).collect();
    let known = batch.events(&ids).await?;
    let mut seen: HashSet<StateKey> = HashSet::new();
    let mut changes = Vec::with_capacity(state.len());
    for pdu in state {
        let holds = known.get(&pdu.event_id).is_some_and(|event| !event.has(flags::REJECTED));
        if let Some(key) = pdu.key().filter(|_| holds)
            && seen.insert(key.clone())
        {
            changes.push((key, Some(pdu.event_id.clone())));
        }
    }
    batch.snapshots.apply(0, &changes).await
}
