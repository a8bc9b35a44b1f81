//! Account data: the user's own notes, global and for each room.

use serde::Serialize;
use serde_json::value::RawValue;

use crate::{
    Internal,
    sync::{Sync, answer::Events},
};

/// New global account data.
pub(super) fn global(sync: &Sync<'_>) -> Result<Events, Internal> {
    let filter = &sync.request.filter.account_data;
    events(sync, "", |kind| filter.wants_type(kind))
}

/// New account data of a room.
pub(super) fn of_room(sync: &Sync<'_>, room_id: &str) -> Result<Events, Internal> {
    let filter = &sync.request.filter.room.account_data;
    events(sync, room_id, |kind| filter.wants_room(room_id) && filter.wants_type(kind))
}

fn events(
    sync: &Sync<'_>,
    room_id: &str,
    wants: impl Fn(&str) -> bool,
) -> Result<Events, Internal> {
    #[derive(Serialize)]
    struct Event<'a> {
        #[serde(rename = "type")]
        kind: &'a str,
        content: &'a RawValue,
    }
    let rows = sync.moment.account_data.get(room_id).into_iter().flatten();
    let mut events = Vec::new();
    for (kind, content) in rows.filter(|(kind, _)| wants(kind)) {
        let content = serde_json::from_str(content)?;
        events.push(serde_json::value::to_raw_value(&Event { kind, content })?);
    }
    Ok(Events { events })
}
