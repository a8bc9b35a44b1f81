//! What a server is told of the room that a user of its has joined by our help.
//!
//! <https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv2send_joinroomideventid>

use std::{collections::HashSet, sync::Arc};

use ruma::{OwnedEventId, OwnedUserId, RoomId, ServerName, events::StateEventType};
use starling_storage::{memberships, rooms};

use super::{chain, visible::Eyes};
use crate::{
    Engine,
    events::{Pdu, store},
    internal::Internal,
    state::{StateKey, store::Snapshots},
};

/// How many members a room without a name is named by, as in our /sync.
const HEROES: i64 = 5;

/// A join that was taken.
#[derive(Debug)]
pub struct Joined {
    /// The event, with our signature where it needed one.
    pub event: Arc<Pdu>,
    /// The state before it.
    pub state: Vec<Arc<Pdu>>,
    /// What authorises the join and the state.
    pub auth_chain: Vec<Arc<Pdu>>,
    /// The servers that had members in the room before, if members are left out of the state.
    pub servers: Option<Vec<String>>,
}

/// The answer to a join, with the whole state before it.
///
/// # Errors
///
/// When the database fails.
pub(super) async fn whole(
    engine: &Engine,
    room_id: &RoomId,
    event: Arc<Pdu>,
    root: i64,
) -> Result<Joined, Internal> {
    let entries = Snapshots::of(engine, room_id).entries(root).await?;
    let ids = entries.into_iter().map(|(_, event_id)| event_id).collect();
    let state = events(engine, room_id, ids).await?;
    let auth_chain = auth_chain(engine, room_id, &event, &state).await?;
    Ok(Joined { event, state, auth_chain, servers: None })
}

/// Whether a server may see what came before a join. Who gets members later asks for the states after
/// those events, and for the events with them.
///
/// # Errors
///
/// When the database fails.
pub(super) async fn is_past_shown(
    engine: &Engine,
    server: &ServerName,
    room_id: &RoomId,
    event: &Pdu,
) -> Result<bool, Internal> {
    let eyes = Eyes::of(engine, server, room_id).await?;
    for before in store::get_many(engine, room_id, &event.prev_events).await?.values() {
        if !eyes.may_see(before).await? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The answer to a join, without those members that nobody needs to begin with.
///
/// # Errors
///
/// When the database fails.
pub(super) async fn without_members(
    engine: &Engine,
    room_id: &RoomId,
    event: Arc<Pdu>,
    root: i64,
) -> Result<Joined, Internal> {
    let entries = Snapshots::of(engine, room_id).entries(root).await?;
    let is_member = |key: &StateKey| key.0 == StateEventType::RoomMember;
    let others = entries.iter().filter(|(key, _)| !is_member(key));
    let ids = others.map(|(_, event_id)| event_id.clone()).collect();
    let mut state = events(engine, room_id, ids).await?;
    if !is_named(&state) {
        let heroes = heroes(engine, room_id, &event).await?;
        let heroes = entries.iter().filter(|(key, _)| is_member(key) && heroes.contains(&key.1));
        let ids = heroes.map(|(_, event_id)| event_id.clone()).collect();
        state.extend(events(engine, room_id, ids).await?);
    }
    let key = (StateEventType::RoomMember, event.sender.to_string());
    let before = entries.into_iter().find(|(known, _)| *known == key).map(|(_, id)| id);
    let before = events(engine, room_id, before.into_iter().collect()).await?;
    let was_joined =
        before.iter().any(|pdu| pdu.content_str("membership").as_deref() == Some("join"));
    let servers = servers_before(engine, room_id, &event.sender, was_joined).await?;
    // "any events that are returned in state may be omitted from auth_chain"
    let given: HashSet<_> = state.iter().map(|pdu| pdu.event_id.clone()).collect();
    let mut auth_chain = auth_chain(engine, room_id, &event, &state).await?;
    auth_chain.retain(|pdu| !given.contains(&pdu.event_id));
    Ok(Joined { event, state, auth_chain, servers: Some(servers) })
}

async fn events(
    engine: &Engine,
    room_id: &RoomId,
    ids: Vec<OwnedEventId>,
) -> Result<Vec<Arc<Pdu>>, Internal> {
    let events = store::get_many(engine, room_id, &ids).await?;
    Ok(events.into_values().map(|event| event.pdu.clone()).collect())
}

async fn auth_chain(
    engine: &Engine,
    room_id: &RoomId,
    event: &Arc<Pdu>,
    state: &[Arc<Pdu>],
) -> Result<Vec<Arc<Pdu>>, Internal> {
    let mut of = state.to_vec();
    of.push(event.clone());
    let chain = chain::auth_chain(engine, room_id, &of).await?;
    Ok(chain.into_iter().map(|event| event.pdu.clone()).collect())
}

/// Whether the room has a name, or an alias that serves as one.
fn is_named(state: &[Arc<Pdu>]) -> bool {
    let has = |kind: StateEventType, field: &str| {
        let key = (kind, String::new());
        let event = state.iter().find(|pdu| pdu.key().as_ref() == Some(&key));
        event.and_then(|pdu| pdu.content_str(field)).is_some_and(|value| !value.is_empty())
    };
    has(StateEventType::RoomName, "name") || has(StateEventType::RoomCanonicalAlias, "alias")
}

/// By whom the room is called if it has no name.
async fn heroes(
    engine: &Engine,
    room_id: &RoomId,
    event: &Pdu,
) -> Result<HashSet<String>, Internal> {
    let mut conn = engine.storage.read().await?;
    for kinds in [["join", "invite"], ["leave", "ban"]] {
        let kinds: Vec<String> = kinds.iter().map(ToString::to_string).collect();
        let sender = event.sender.as_str();
        let rows =
            memberships::first_of_room(&mut conn, room_id.as_str(), &kinds, sender, HEROES).await?;
        if !rows.is_empty() {
            return Ok(rows.into_iter().map(|row| row.user_id).collect());
        }
    }
    Ok(HashSet::new())
}

/// The servers with joined members, without the one that came in by this join.
async fn servers_before(
    engine: &Engine,
    room_id: &RoomId,
    user_id: &OwnedUserId,
    was_joined: bool,
) -> Result<Vec<String>, Internal> {
    let mut conn = engine.storage.read().await?;
    let mut servers = rooms::servers_in(&mut conn, room_id.as_str()).await?;
    let joining = user_id.server_name().as_str();
    let counts = rooms::server_members(&mut conn, room_id.as_str(), &[joining.to_owned()]).await?;
    let came = !was_joined && counts.iter().all(|(_, joined)| *joined <= 1);
    servers.retain(|server| !came || server != joining);
    Ok(servers)
}
