//! Which servers are in the room, and from which position to which: who is owed its events.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use ruma::{OwnedEventId, UserId, events::StateEventType};
use starling_storage::rooms::{self, ServerUpdate, Write};

use super::{members, state::StateChange};
use crate::{events::StoredEvent, internal::Internal, rooms::batch::Batch, state::Changed};

/// What changed about the members of a server.
#[derive(Default)]
struct Step {
    /// By how many more are joined.
    joined: i64,
    /// Whether an invite or a knock came to nothing.
    ended: bool,
}

/// Counts the joined members of each server anew where they changed.
///
/// A server that is not in the room is owed the event that ends an invite or a knock of its user, so
/// it is noted as having been in the room for just that event.
pub(super) async fn follow(batch: &mut Batch, change: &StateChange) -> Result<(), Internal> {
    let Some(at) = change.at else { return Ok(()) };
    let mut steps = steps(batch, change).await?;
    let own = batch.engine.config.server_name.clone();
    steps.retain(|server, step| step.joined != 0 || (step.ended && own != *server));
    load_counts(batch, steps.keys()).await?;
    for (server, step) in steps {
        let count = batch.servers.entry(server.clone()).or_default();
        if step.joined == 0 && *count > 0 {
            continue;
        }
        *count = (*count + step.joined).max(0);
        batch.change.write(Write::Server(ServerUpdate {
            room_id: batch.room.id.to_string(),
            server,
            joined_members: *count,
            at,
        }));
    }
    Ok(())
}

async fn steps(batch: &Batch, change: &StateChange) -> Result<BTreeMap<String, Step>, Internal> {
    let is_member = |it: &&Changed| it.key.0 == StateEventType::RoomMember;
    let members: Vec<&Changed> = change.changed.iter().filter(is_member).collect();
    let mut steps = BTreeMap::new();
    for some in members.chunks(members::AT_A_TIME) {
        let events = members::events(batch, some, members.len()).await?;
        add_steps(some, &events, &mut steps);
    }
    Ok(steps)
}

fn add_steps(
    members: &[&Changed],
    events: &HashMap<OwnedEventId, Arc<StoredEvent>>,
    steps: &mut BTreeMap<String, Step>,
) {
    let membership = |id: &Option<OwnedEventId>| {
        let event = id.as_ref().and_then(|id| events.get(id));
        members::membership(event.map(|event| &*event.pdu))
    };
    for it in members {
        let Ok(user_id) = <&UserId>::try_from(it.key.1.as_str()) else { continue };
        let (old, new) = (membership(&it.old), membership(&it.new));
        let step = steps.entry(user_id.server_name().to_string()).or_default();
        step.joined += i64::from(new == "join") - i64::from(old == "join");
        step.ended |= matches!(&*old, "invite" | "knock") && matches!(&*new, "leave" | "ban");
    }
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
