//! Which events an event follows, and which of those are unknown: where history can be asked for.

use starling_storage::{
    events::{Write, flags},
    rooms,
};

use crate::{events::StoredEvent, internal::Internal, rooms::batch::Batch};

/// Notes an event's predecessors.
pub(super) async fn link(batch: &mut Batch, event: &StoredEvent) -> Result<(), Internal> {
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
    // It may have been one of the unknown itself.
    batch.change.write(rooms::Write::Backward {
        room_id,
        event_id: event.pdu.event_id.to_string(),
        add: None,
    });
    Ok(())
}
