//! Typing and receipts.

use std::collections::{BTreeMap, HashSet};

use ruma::{OwnedUserId, RoomId, UserId};
use serde_json::{Value, json, value::RawValue};
use starling_storage::receipts::ReceiptRow;

use crate::{
    Internal,
    sync::{Sync, answer::Events},
};

/// New typing and receipts of a joined room; of one that is new to the client (`fresh`), all.
pub(super) fn of_room(sync: &Sync<'_>, room_id: &RoomId, fresh: bool) -> Result<Events, Internal> {
    let filter = &sync.request.filter.room.ephemeral;
    let mut events = Vec::new();
    if filter.wants_room(room_id.as_str()) && filter.wants_type("m.typing") {
        events.extend(typing(sync, room_id, fresh)?);
    }
    if filter.wants_room(room_id.as_str()) && filter.wants_type("m.receipt") {
        events.extend(receipts(sync, room_id, fresh)?);
    }
    Ok(Events { events })
}

/// Whether the user's own receipts moved, so that counts are other ones now.
pub(super) fn own_receipt_moved(sync: &Sync<'_>, room_id: &RoomId) -> bool {
    let since = sync.moment.since.unwrap_or(0);
    let rows = sync.moment.receipts.get(room_id.as_str()).into_iter().flatten();
    rows.into_iter().any(|row| row.pos > since && row.user_id == sync.asking.user_id.as_str())
}

fn typing(
    sync: &Sync<'_>,
    room_id: &RoomId,
    fresh: bool,
) -> Result<Option<Box<RawValue>>, Internal> {
    let since = if fresh { 0 } else { sync.moment.typing_since };
    let until = sync.moment.token.typing;
    let Some(mut users) = sync.engine.typing.changed(room_id, since, until) else {
        return Ok(None);
    };
    users.retain(|user_id| !sync.moment.ignored.contains(user_id));
    if users.is_empty() && fresh {
        return Ok(None);
    }
    typing_event(&users).map(Some)
}

/// Who types, as clients see it.
pub(in crate::sync) fn typing_event(users: &[OwnedUserId]) -> Result<Box<RawValue>, Internal> {
    let event = json!({ "type": "m.typing", "content": { "user_ids": users } });
    Ok(serde_json::value::to_raw_value(&event)?)
}

/// One event for each thread: in one map, a user's receipts of two threads for the same event would
/// be one.
fn receipts(
    sync: &Sync<'_>,
    room_id: &RoomId,
    fresh: bool,
) -> Result<Vec<Box<RawValue>>, Internal> {
    let since = if fresh { 0 } else { sync.moment.since.unwrap_or(0) };
    let mut threads: BTreeMap<&str, Value> = BTreeMap::new();
    for row in sync.moment.receipts.get(room_id.as_str()).into_iter().flatten() {
        if row.pos > since && is_for(sync.asking.user_id, &sync.moment.ignored, row) {
            let content = threads.entry(&row.thread_id).or_insert_with(|| json!({}));
            add_receipt(content, row);
        }
    }
    threads.into_values().map(receipt_event).collect()
}

/// Adds a receipt to the content of an event.
pub(in crate::sync) fn add_receipt(content: &mut Value, row: &ReceiptRow) {
    let mut receipt = json!({ "ts": row.ts });
    if !row.thread_id.is_empty() {
        receipt["thread_id"] = json!(row.thread_id);
    }
    content[&row.event_id][&row.receipt_type][&row.user_id] = receipt;
}

/// Receipts, as clients see them.
pub(in crate::sync) fn receipt_event(content: Value) -> Result<Box<RawValue>, Internal> {
    let event = json!({ "type": "m.receipt", "content": content });
    Ok(serde_json::value::to_raw_value(&event)?)
}

/// Whether a user sees a receipt: their own, and those of others that are not private.
pub(in crate::sync) fn is_for(
    user_id: &UserId,
    ignored: &HashSet<OwnedUserId>,
    row: &ReceiptRow,
) -> bool {
    if row.user_id == user_id.as_str() {
        return true;
    }
    let is_ignored = || OwnedUserId::try_from(&*row.user_id).is_ok_and(|id| ignored.contains(&id));
    row.receipt_type == "m.read" && !is_ignored()
}
