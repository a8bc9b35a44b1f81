//! An event's place in the room's timeline, and the fact that wakes who waits for it.

use ruma::events::TimelineEventType;
use starling_storage::{
    At, Fact,
    timeline::{Entry, Write},
};

use super::unread;
use crate::{events::StoredEvent, internal::Internal, rooms::batch::Batch};

/// Puts an event at the end of the timeline.
pub(super) async fn append(
    batch: &mut Batch,
    event: &StoredEvent,
    local: bool,
) -> Result<At, Internal> {
    let pdu = &event.pdu;
    let member = pdu.state_key.clone().filter(|_| pdu.kind == TimelineEventType::RoomMember);
    let at = batch.change.fact(Fact::Event {
        room_id: batch.room.id.to_string(),
        event_id: pdu.event_id.to_string(),
        local,
        member,
    });
    let thread_root = unread::thread(batch, pdu).await?;
    let mut entry = Entry { local, thread_root, ..entry(batch, event) };
    unread::count(batch, event, &mut entry, at).await?;
    unread::read_by_sender(batch, event, &entry, at);
    batch.change.write(Write::Append { entry, at });
    Ok(at)
}

/// Puts an event before everything that the timeline has.
pub(super) fn backfill(batch: &mut Batch, event: &StoredEvent) {
    let entry = entry(batch, event);
    batch.change.write(Write::Backfill(entry));
}

fn entry(batch: &Batch, event: &StoredEvent) -> Entry {
    Entry {
        room_id: batch.room.id.to_string(),
        event_id: event.pdu.event_id.to_string(),
        depth: event.pdu.depth,
        thread_root: unread::thread_root(&event.pdu).map(|root| root.to_string()),
        ..Entry::default()
    }
}
