//! Account data: the user's own notes, global and for each room.

use ruma::UserId;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::{
    Engine, Internal,
    push::rules,
    sync::{Sync, answer::Events},
};

/// New global account data. Push rules are there from the first /sync on, also those that nobody set.
pub(super) fn global(sync: &Sync<'_>) -> Result<Events, Internal> {
    let filter = &sync.request.filter.account_data;
    let mut events = events(sync, "", |kind| kind != rules::KIND && filter.wants_type(kind))?;
    if filter.wants_type(rules::KIND) {
        events.events.extend(push_rules(sync)?);
    }
    Ok(events)
}

fn push_rules(sync: &Sync<'_>) -> Result<Option<Box<RawValue>>, Internal> {
    let rows = sync.moment.account_data.get("").into_iter().flatten();
    let stored = rows.filter(|(kind, _)| kind == rules::KIND).map(|(_, content)| content);
    let stored = stored.map(String::as_str).next();
    if stored.is_none() && sync.moment.since.is_some() {
        return Ok(None);
    }
    rules_event(sync.engine, sync.asking.user_id, stored).map(Some)
}

/// The push rules of a user, brought up to what is predefined today.
pub(in crate::sync) fn rules_event(
    engine: &Engine,
    user_id: &UserId,
    stored: Option<&str>,
) -> Result<Box<RawValue>, Internal> {
    event(rules::KIND, &rules::content(engine.config.push, user_id, stored)?)
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
    let rows = sync.moment.account_data.get(room_id).into_iter().flatten();
    let mut events = Vec::new();
    for (kind, content) in rows.filter(|(kind, _)| wants(kind)) {
        events.push(event(kind, serde_json::from_str(content)?)?);
    }
    Ok(Events { events })
}

/// A piece of account data as clients see it.
pub(in crate::sync) fn event(kind: &str, content: &RawValue) -> Result<Box<RawValue>, Internal> {
    #[derive(Serialize)]
    struct Event<'a> {
        #[serde(rename = "type")]
        kind: &'a str,
        content: &'a RawValue,
    }
    Ok(serde_json::value::to_raw_value(&Event { kind, content })?)
}
