//! `event`, `state`, `state_ids` and `event_auth`.

use std::{sync::Arc, time::Duration};

use ruma::{EventId, OwnedEventId, RoomId, ServerName};
use starling_storage::{events, events::flags, state};

use super::{ReadError, access, chain, visible::Eyes};
use crate::{
    Engine, Internal,
    events::{
        Pdu,
        store::{self, StoredEvent},
    },
    rooms::partial,
    state::store::Snapshots,
};

/// How long another server waits for a state that this one does not know yet.
const PATIENCE: Duration = Duration::from_secs(20);

/// The state of a room before an event, with what authorises it.
#[derive(Clone, Debug)]
pub struct StateAt {
    /// The state events.
    pub state: Vec<Arc<Pdu>>,
    /// Their auth chain.
    pub auth_chain: Vec<Arc<Pdu>>,
}

/// One event, by its ID alone: the only question that names no room.
///
/// # Errors
///
/// [`ReadError`]; what the server may not see is [`ReadError::NotFound`] too.
pub async fn event(
    engine: &Engine,
    origin: &ServerName,
    event_id: &EventId,
) -> Result<Arc<Pdu>, ReadError> {
    let mut conn = engine.storage.read().await?;
    let rooms = events::rooms_of(&mut conn, event_id.as_str()).await?;
    drop(conn);
    for room_id in rooms {
        let Ok(room_id) = <&RoomId>::try_from(room_id.as_str()) else { continue };
        if !access::is_in_room(engine, room_id, origin).await?
            || !access::acl_allows(engine, room_id, origin).await?
        {
            continue;
        }
        let Some(event) = store::get(engine, room_id, event_id).await? else { continue };
        if event.has(flags::REJECTED) {
            continue;
        }
        // The present state is given as a whole, too. Of what else has no place here, and is known only
        // because other events rest on it, nobody can tell who may see it.
        if event.has(flags::OUTLIER) && is_current(engine, &event.pdu).await? {
            return Ok(event.pdu.clone());
        }
        let mut eyes = Eyes::of(engine, origin, room_id).await?;
        if let Some(pdu) = eyes.seen(&event).await? {
            return Ok(pdu);
        }
    }
    Err(ReadError::NotFound)
}

/// Whether an event is a part of the present state of its room.
async fn is_current(engine: &Engine, pdu: &Pdu) -> Result<bool, Internal> {
    let Some((kind, state_key)) = pdu.key() else { return Ok(false) };
    let mut conn = engine.storage.read().await?;
    let kind = kind.to_string();
    let current = state::current(&mut conn, pdu.room_id.as_str(), &kind, &state_key).await?;
    Ok(current.is_some_and(|event_id| event_id == pdu.event_id.as_str()))
}

/// The state of a room before an event.
///
/// # Errors
///
/// [`ReadError`], each of its variants.
pub async fn state(
    engine: &Engine,
    origin: &ServerName,
    room_id: &RoomId,
    event_id: &EventId,
) -> Result<StateAt, ReadError> {
    access::require_member(engine, origin, room_id).await?;
    let mut event = stored(engine, room_id, event_id).await?;
    if event.has(flags::PARTIAL_STATE) {
        // What is not known wholly is not told; it may be in a moment.
        if !partial::wait(engine, room_id, PATIENCE).await? {
            return Err(ReadError::NotFound);
        }
        event = stored(engine, room_id, event_id).await?;
    }
    let root = event.state_before.filter(|_| event.is_in_place());
    let Some(root) = root else { return Err(ReadError::NotFound) };
    Ok(state_with_chain(engine, room_id, root).await?)
}

/// The state at a root with its auth chain.
///
/// # Errors
///
/// When the database fails.
pub async fn state_with_chain(
    engine: &Engine,
    room_id: &RoomId,
    root: i64,
) -> Result<StateAt, Internal> {
    let entries = Snapshots::of(engine, room_id).entries(root).await?;
    let ids: Vec<OwnedEventId> = entries.into_iter().map(|(_, event_id)| event_id).collect();
    let events = store::get_many(engine, room_id, &ids).await?;
    let state: Vec<Arc<Pdu>> = events.into_values().map(|event| event.pdu.clone()).collect();
    let auth_chain = chain::auth_chain(engine, room_id, &state).await?;
    Ok(StateAt { state, auth_chain: auth_chain.into_iter().map(|e| e.pdu.clone()).collect() })
}

/// The auth chain of an event.
///
/// # Errors
///
/// [`ReadError`], each of its variants.
pub async fn event_auth(
    engine: &Engine,
    origin: &ServerName,
    room_id: &RoomId,
    event_id: &EventId,
) -> Result<Vec<Arc<Pdu>>, ReadError> {
    access::require_member(engine, origin, room_id).await?;
    let event = stored(engine, room_id, event_id).await?;
    let chain = chain::auth_chain(engine, room_id, std::slice::from_ref(&event.pdu)).await?;
    Ok(chain.into_iter().map(|event| event.pdu.clone()).collect())
}

async fn stored(
    engine: &Engine,
    room_id: &RoomId,
    event_id: &EventId,
) -> Result<Arc<StoredEvent>, ReadError> {
    store::get(engine, room_id, event_id).await?.ok_or(ReadError::NotFound)
}
