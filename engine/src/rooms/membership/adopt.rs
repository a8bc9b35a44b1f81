//! Taking over a room that a user of ours has joined by another server: its state, as that server
//! gave it and as far as it holds, and the join. The server may leave most members out of it.

use std::{collections::HashMap, sync::Arc};

use bytes::Bytes;
use ruma::{OwnedEventId, OwnedServerName, events::StateEventType};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{MembershipError, local, remote::Made};
use crate::{
    Engine,
    at_most::AtMost,
    events::{Canonical, Pdu},
    internal::Internal,
    rooms::{
        append::{self, Disposition, NewEvent},
        batch::{Batch, BatchError, MAX_ATTEMPTS},
        blocked,
        partial::{self, Beginning},
        receive::{
            bulk::Bulk,
            given,
            judge::{self, Judged},
            texts::Texts,
        },
        room::{self, Room, RoomGuard},
        state_at,
    },
    state::{EMPTY_ROOT, StateKey},
};

/// How many events a room may be taken over with.
const MAX_EVENTS: usize = 250_000;

/// The answer to `send_join`.
#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(borrow)]
    state: AtMost<&'a RawValue, MAX_EVENTS>,
    #[serde(borrow)]
    auth_chain: AtMost<&'a RawValue, MAX_EVENTS>,
    #[serde(borrow)]
    event: Option<&'a RawValue>,
    members_omitted: Option<bool>,
    servers_in_room: Option<AtMost<String, { partial::MAX_SERVERS }>>,
}

/// What a create event says of the room's version.
#[derive(Deserialize)]
struct Create {
    #[serde(rename = "type")]
    kind: String,
    content: CreateContent,
}

#[derive(Deserialize)]
struct CreateContent {
    room_version: Option<String>,
}

#[derive(Deserialize)]
struct Kind {
    #[serde(rename = "type")]
    kind: String,
}

/// A room that is to be taken over, unverified.
#[derive(Debug)]
struct Given {
    /// The auth chain, and behind it the state.
    texts: Texts,
    /// Where the state begins.
    state_from: usize,
    event: Option<Box<RawValue>>,
    /// The servers that are said to be in the room, if members are left out.
    servers: Option<Vec<OwnedServerName>>,
}

/// A room that is to be taken over: its events are stored.
struct Taken {
    join: Arc<Pdu>,
    /// The state before the join.
    state: Vec<(StateKey, Option<OwnedEventId>)>,
    servers: Option<Vec<OwnedServerName>>,
}

/// Takes over a room, given the answer to `send_join`.
///
/// # Errors
///
/// [`MembershipError::RemoteFailed`] when what the server gave does not hold,
/// [`MembershipError::Forbidden`] when by what it gave the user may not join.
pub async fn room(
    engine: &Engine,
    made: &Made,
    answer: Bytes,
) -> Result<OwnedEventId, MembershipError> {
    let room_id = &made.pdu.room_id;
    blocked::check(engine, room_id).await?;
    let taken = take(engine, made, answer).await?;
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
        match attempt(engine, &mut guard, is_new, &taken).await {
            Ok(()) => {
                engine.partial.wake.notify_one();
                return Ok(taken.join.event_id.clone());
            }
            Err(Failed::Batch(BatchError::Conflict | BatchError::NameTaken)) => {}
            Err(Failed::Batch(BatchError::Internal(error))) => return Err(error.into()),
            Err(Failed::Batch(error)) => return Err(Internal::Damaged(error.to_string()).into()),
            Err(Failed::Forbidden) => {
                let reason = "the rules of the room do not allow it".to_owned();
                return Err(MembershipError::Forbidden(reason));
            }
            Err(Failed::Refused(reason)) => return Err(MembershipError::RemoteFailed(reason)),
        }
    }
    Err(Internal::Damaged(format!("{room_id} changes too fast")).into())
}

/// Reads the answer, checks its events, and stores them.
async fn take(engine: &Engine, made: &Made, answer: Bytes) -> Result<Taken, MembershipError> {
    let version = made.version.to_string();
    let read = tokio::task::spawn_blocking(move || read(&answer, &version)).await;
    let read = read.map_err(|error| Internal::Damaged(error.to_string()))?;
    let Given { texts, state_from, event, servers } =
        read.map_err(MembershipError::RemoteFailed)?;
    let (server, room_id) = (&made.server, &made.pdu.room_id);
    tracing::info!(room.id = %room_id, server.name = %server, events = texts.len(),
        in_part = servers.is_some(), "A room is taken over");
    let bulk = Bulk { engine, server, room_id, version: &made.version, rules: &made.rules };
    let ids = bulk.take(&texts).await?;
    let ids: Vec<OwnedEventId> = ids.into_iter().skip(state_from).flatten().collect();
    let state = given::state(engine, room_id, &ids).await?;
    drop(ids);
    let state: Vec<_> = state.into_iter().map(|(key, event_id)| (key, Some(event_id))).collect();
    let create = (StateEventType::RoomCreate, String::new());
    if !state.iter().any(|(key, _)| *key == create) {
        let reason = "no create event of the state holds".to_owned();
        return Err(MembershipError::RemoteFailed(reason));
    }
    let join = event.and_then(|event| countersigned(made, &event));
    let join = join.unwrap_or_else(|| made.pdu.clone());
    let servers = servers.map(|mut servers| {
        // Who helped knows the room, whatever it says of itself.
        servers.retain(|known| known != server);
        servers.insert(0, server.clone());
        servers
    });
    Ok(Taken { join, state, servers })
}

/// Reads the answer as far as needed to tell its events apart.
fn read(body: &Bytes, version: &str) -> Result<Given, String> {
    let answer: Answer<'_> = serde_json::from_slice(body).map_err(|error| error.to_string())?;
    let (state, mut all) = (answer.state.0, answer.auth_chain.0);
    if state.len() + all.len() > MAX_EVENTS {
        return Err(format!("more than {MAX_EVENTS} events"));
    }
    check_create(&state, version)?;
    let state_from = all.len();
    all.extend(state);
    let servers = answer.servers_in_room.map(|servers| servers.0).unwrap_or_default();
    let servers = servers.into_iter().filter_map(|name| name.try_into().ok()).collect();
    Ok(Given {
        texts: Texts::of(body, &all),
        state_from,
        event: answer.event.map(ToOwned::to_owned),
        servers: (answer.members_omitted == Some(true)).then_some(servers),
    })
}

/// The room must be of the version that we made the event for.
fn check_create(state: &[&RawValue], version: &str) -> Result<(), String> {
    let kind = |raw: &RawValue| serde_json::from_str::<Kind>(raw.get()).map(|it| it.kind);
    let mut creates = state
        .iter()
        .filter(|raw| kind(raw).is_ok_and(|kind| kind == "m.room.create"))
        .filter_map(|raw| serde_json::from_str::<Create>(raw.get()).ok())
        .filter(|create| create.kind == "m.room.create")
        .map(|create| create.content.room_version.unwrap_or_else(|| "1".to_owned()))
        .peekable();
    if creates.peek().is_none() {
        return Err("the state has no create event".to_owned());
    }
    match creates.find(|found| found != version) {
        Some(found) => Err(format!("the room is of version {found}, not {version}")),
        None => Ok(()),
    }
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

enum Failed {
    Batch(BatchError),
    Forbidden,
    Refused(String),
}

impl<E: Into<BatchError>> From<E> for Failed {
    fn from(error: E) -> Self {
        Self::Batch(error.into())
    }
}

/// The state before the join: as it was told, unless more is known here.
async fn state_before(
    batch: &mut Batch,
    taken: &Taken,
    told: i64,
    is_whole: bool,
) -> Result<i64, Internal> {
    let prev_events = &taken.join.prev_events;
    let known = is_whole.then_some(state_at::before(batch, prev_events).await?).flatten();
    if let Some(known) = known {
        return Ok(known);
    }
    // A whole state says it all. Merged with older ones it would be judged anew by itself.
    if taken.servers.is_none() {
        return Ok(told);
    }
    // What is known here of the events before the join tells of members that were left out.
    let mut roots = vec![told];
    for event in batch.events(prev_events).await?.values() {
        roots.extend(state_at::after(batch, event).await?);
    }
    state_at::merge(batch, roots).await
}

async fn attempt(
    engine: &Engine,
    guard: &mut RoomGuard,
    is_new: bool,
    taken: &Taken,
) -> Result<(), Failed> {
    let mut batch = if is_new { Batch::first(engine, guard) } else { Batch::new(engine, guard) };
    let mut root = batch.snapshots.apply(EMPTY_ROOT, &taken.state).await?;
    let resident = !is_new && local::is_resident(engine, &guard.id).await?;
    let is_whole = resident && !batch.room.is_partial();
    // A room in which we are already has a state that is better than any answer, ...
    if !resident {
        batch.room.extremities.clear();
    }
    match &taken.servers {
        // ... and in particular than one that is not whole.
        Some(_) if is_whole => {
            let current = batch.room.row.current_state;
            root = state_at::merge(&mut batch, vec![current, root]).await?;
        }
        Some(servers) => {
            let beginning = Beginning { join: &taken.join.event_id, servers };
            partial::begin(&mut batch, beginning).await?;
        }
        None => {}
    }
    if !resident {
        append::adopt_state(&mut batch, root).await?;
    }
    root = state_before(&mut batch, taken, root, is_whole).await?;
    match judge::judge(&mut batch, &taken.join, Some(root)).await? {
        Judged::Ready(new @ NewEvent { disposition: Disposition::Accepted, .. }) => {
            append::append(&mut batch, new).await?;
        }
        Judged::Ready(NewEvent { disposition: Disposition::Rejected, .. }) => {
            return Err(Failed::Forbidden);
        }
        Judged::Known => return Ok(()),
        other => return Err(Failed::Refused(format!("the join does not hold: {other:?}"))),
    }
    batch.commit(guard).await?;
    Ok(())
}
