//! Which events an event follows, and which of those are unknown: where history can be asked for.

use starling_storage::{
    events::{Write, flags},
    rooms,
};

use crate::{events::StoredEvent, internal::Internal, rooms::batch::Batch};

/// Notes an event's predecessors. `local`: this deployment owes it to the other servers in the room.
pub(super) async fn link(
    batch: &mut Batch,
    event: &StoredEvent,
    local: bool,
) -> Result<(), Internal> {
    let room_id = batch.room.id.to_string();
    let prev_events = &event.pdu.prev_events;
    let known = batch.events(prev_events).await?;
    for prev_id in prev_events {
        batch.change.write(Write::Edge {
            room_id: room_id.clone(),
            prev_id: prev_id.to_string(),
            event_id: event.pdu.event_id.to_string(),
        });
        if known.get(prev_id).is_none_or(|prev| prev.has(flags::OUTLIER)) {
            batch.change.write(rooms::Write::Backward {
                room_id: room_id.clone(),
                event_id: prev_id.to_string(),
                add: Some(event.pdu.depth),
            });
        }
    }
    // What this server made now, nobody can have named yet.
    if local && event.pdu.sender.server_name() == batch.engine.config.server_name {
        return Ok(());
    }
    // It may have been one of the unknown itself.
    batch.change.write(rooms::Write::Backward {
        room_id,
        event_id: event.pdu.event_id.to_string(),
        add: None,
    });
    Ok(())
}
