//! Which servers are in the room, and from which position to which: who is owed its events.

use std::collections::BTreeMap;

use ruma::{OwnedEventId, UserId, events::StateEventType};
use starling_storage::rooms::{self, ServerUpdate, Write};

use super::{members, state::StateChange};
use crate::{internal::Internal, rooms::batch::Batch};

/// Counts the joined members of each server anew where they changed.
pub(super) async fn follow(batch: &mut Batch, change: &StateChange) -> Result<(), Internal> {
    let Some(at) = change.at else { return Ok(()) };
    let mut steps = joined_steps(batch, change).await?;
    steps.retain(|_, step| *step != 0);
    load_counts(batch, steps.keys()).await?;
    for (server, step) in steps {
        let count = batch.servers.entry(server.clone()).or_default();
        *count = (*count + step).max(0);
        batch.change.write(Write::Server(ServerUpdate {
            room_id: batch.room.id.to_string(),
            server,
            joined_members: *count,
            at,
        }));
    }
    Ok(())
}

/// By how many the joined members of each server changed.
async fn joined_steps(
    batch: &Batch,
    change: &StateChange,
) -> Result<BTreeMap<String, i64>, Internal> {
    let members = || change.changed.iter().filter(|it| it.key.0 == StateEventType::RoomMember);
    let ids: Vec<OwnedEventId> =
        members().flat_map(|it| it.old.iter().chain(&it.new)).cloned().collect();
    let events = batch.events(&ids).await?;
    let joined = |id: &Option<OwnedEventId>| {
        let event = id.as_ref().and_then(|id| events.get(id));
        i64::from(members::membership(event.map(|event| &*event.pdu)) == "join")
    };
    let mut steps = BTreeMap::new();
    for it in members() {
        let Ok(user_id) = <&UserId>::try_from(it.key.1.as_str()) else { continue };
        let step = joined(&it.new) - joined(&it.old);
        *steps.entry(user_id.server_name().to_string()).or_default() += step;
    }
    Ok(steps)
}

async fn load_counts<'a>(
    batch: &mut Batch,
    servers: impl Iterator<Item = &'a String>,
) -> Result<(), Internal> {
    let unknown: Vec<String> =
        servers.filter(|server| !batch.servers.contains_key(*server)).cloned().collect();
    if !unknown.is_empty() {
        let mut conn = batch.engine.storage.read().await?;
        let counts = rooms::server_members(&mut conn, batch.room.id.as_str(), &unknown).await?;
        batch.servers.extend(counts);
    }
    Ok(())
}
