//! The running numbers behind unread counts: how many events so far notify by default, in the room
//! and in each thread. A count is the difference to what a user's receipt remembers.

use ruma::{OwnedEventId, UserId, events::TimelineEventType};
use starling_storage::{
    At,
    timeline::{self, Entry, UnreadMark, Write},
};

use super::relations;
use crate::{
    events::{Pdu, StoredEvent},
    internal::Internal,
    rooms::batch::Batch,
};

/// Raises the numbers for an event and notes them at its place.
pub(super) async fn count(
    batch: &mut Batch,
    event: &StoredEvent,
    entry: &mut Entry,
) -> Result<(), Internal> {
    let step = i64::from(notifies(&event.pdu));
    batch.room.row.notify_count += step;
    entry.notify_count = batch.room.row.notify_count;
    let Some(root) = entry.thread_root.clone() else { return Ok(()) };
    let before = match batch.threads.get(&root) {
        Some(count) => *count,
        None => {
            let mut conn = batch.engine.storage.read().await?;
            timeline::thread_count(&mut conn, batch.room.id.as_str(), &root).await?
        }
    };
    entry.thread_notify_count = before + step;
    batch.threads.insert(root.clone(), entry.thread_notify_count);
    batch.change.write(Write::ThreadCount {
        room_id: batch.room.id.to_string(),
        thread_root: root,
        notify_count: entry.thread_notify_count,
    });
    Ok(())
}

/// Who sends a message has read what was before it.
pub(super) fn read_by_sender(batch: &mut Batch, event: &StoredEvent, entry: &Entry, at: At) {
    let pdu = &event.pdu;
    if pdu.sender.server_name() != batch.engine.config.server_name || !notifies(pdu) {
        return;
    }
    let notify_count = match entry.thread_root {
        Some(_) => entry.thread_notify_count,
        None => entry.notify_count,
    };
    let mark = UnreadMark {
        user_id: pdu.sender.to_string(),
        room_id: entry.room_id.clone(),
        thread_root: entry.thread_root.clone().unwrap_or_default(),
        pos: 0,
        notify_count,
    };
    batch.change.write(Write::OwnEvent { mark, at });
}

/// Who joins begins with nothing unread.
pub(super) fn read_by_joining(batch: &mut Batch, user_id: &UserId, at: At) {
    let mark = UnreadMark {
        user_id: user_id.to_string(),
        room_id: batch.room.id.to_string(),
        thread_root: String::new(),
        pos: 0,
        notify_count: batch.room.row.notify_count,
    };
    batch.change.write(Write::OwnEvent { mark, at });
}

/// The thread that an event says it belongs to.
#[must_use]
pub fn thread_root(pdu: &Pdu) -> Option<OwnedEventId> {
    let relation = relations::of(pdu)?;
    (relation.rel_type == "m.thread").then(|| relation.event_id.try_into().ok()).flatten()
}

/// Whether the push rules that every user starts with notify of such an event.
///
/// <https://spec.matrix.org/v1.19/client-server-api/#predefined-rules>
#[must_use]
pub fn notifies(pdu: &Pdu) -> bool {
    if relations::of(pdu).is_some_and(|relation| relation.rel_type == "m.replace") {
        return false;
    }
    match &pdu.kind {
        TimelineEventType::RoomMessage => pdu.content_str("msgtype").as_deref() != Some("m.notice"),
        TimelineEventType::RoomEncrypted | TimelineEventType::CallInvite => true,
        TimelineEventType::RoomTombstone => pdu.state_key.as_deref() == Some(""),
        _ => false,
    }
}
