//! Who is there.

use serde_json::{json, value::to_raw_value};

use crate::{
    Internal, presence,
    sync::{Sync, answer::Events},
};

/// The presence of those for whom it is new.
pub(super) fn news(sync: &Sync<'_>) -> Result<Events, Internal> {
    let filter = &sync.request.filter.presence;
    let mut events = Vec::new();
    if !filter.wants_type("m.presence") {
        return Ok(Events { events });
    }
    let now_ms = sync.engine.clock.now_ms();
    for user_id in &sync.moment.presence {
        if !filter.wants_sender(user_id) || sync.moment.ignored.contains(user_id) {
            continue;
        }
        let Some(presence) = sync.engine.presence.get(user_id) else { continue };
        let content = presence::content(&presence, now_ms);
        let event = json!({ "type": "m.presence", "sender": user_id, "content": content });
        events.push(to_raw_value(&event)?);
    }
    Ok(Events { events })
}
