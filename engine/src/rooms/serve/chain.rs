//! Auth chains: the events that authorise events, and those that authorise them, and so on.

use std::{collections::HashSet, sync::Arc};

use ruma::{OwnedEventId, RoomId};

use crate::{
    Engine,
    events::{
        Pdu,
        store::{self, StoredEvent},
    },
    internal::Internal,
    rooms::authorize,
};

/// How many events a chain may have: no server takes a room over with more.
const MAX_CHAIN: usize = 250_000;

/// The auth chain of some events of a room, without those events unless they are in the chain of
/// another. Since room version 12 it holds the create event, which no event names.
///
/// # Errors
///
/// When the database fails.
pub async fn auth_chain(
    engine: &Engine,
    room_id: &RoomId,
    of: &[Arc<Pdu>],
) -> Result<Vec<Arc<StoredEvent>>, Internal> {
    let version = store::room_version(engine, room_id).await?;
    let create = version
        .as_ref()
        .and_then(|version| authorize::create_event_id(room_id, &version.1.authorization));
    let create_only = of.iter().all(|pdu| Some(&pdu.event_id) == create.as_ref());
    let named = of.iter().flat_map(|pdu| &pdu.auth_events);
    let mut next: Vec<OwnedEventId> =
        named.chain(create.as_ref().filter(|_| !create_only)).cloned().collect();
    let mut seen: HashSet<OwnedEventId> = HashSet::new();
    let mut chain = Vec::new();
    loop {
        next.retain(|event_id| seen.insert(event_id.clone()));
        if next.is_empty() {
            return Ok(chain);
        }
        let events = store::get_many(engine, room_id, &next).await?;
        next = events.values().flat_map(|event| event.pdu.auth_events.clone()).collect();
        chain.extend(events.into_values());
        if chain.len() > MAX_CHAIN {
            return Err(Internal::Damaged(format!("{room_id} has an auth chain without end")));
        }
    }
}
