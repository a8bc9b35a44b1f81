//! A room by the little that came with an invite or a knock. Pure.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#stripped-state>

use std::collections::BTreeMap;

use ruma::{RoomId, events::StateEventType};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::summary::{self, Summary};
use crate::events::pdu::content_str;

#[derive(Deserialize)]
struct Event<'a> {
    #[serde(rename = "type")]
    kind: StateEventType,
    state_key: String,
    #[serde(borrow)]
    content: &'a RawValue,
}

/// What the stripped state that is kept of a room says of it; `None` when it is no list of events.
/// It may be out of date, and it does not say how many are in the room: those whom it names count.
#[must_use]
pub fn summary(room_id: &RoomId, stripped: &str) -> Option<Summary> {
    let events: Vec<Event<'_>> = serde_json::from_str(stripped).ok()?;
    let mut state = BTreeMap::new();
    let mut joined = 0;
    for event in &events {
        if event.kind == StateEventType::RoomMember {
            let membership = content_str(event.content, "membership");
            joined += i64::from(membership.as_deref() == Some("join"));
        } else if event.state_key.is_empty() {
            state.insert(event.kind.clone(), event.content);
        }
    }
    let create = state.get(&StateEventType::RoomCreate);
    let version = |create| content_str(create, "room_version").unwrap_or_else(|| "1".to_owned());
    let version = create.copied().map(version);
    Some(summary::summary(room_id, joined, version, |kind| state.get(&kind).copied()))
}

#[cfg(test)]
mod tests {
    use ruma::room_id;
    use serde_json::{Value, json};

    use super::*;

    fn event(kind: &str, state_key: &str, content: Value) -> Value {
        json!({ "type": kind, "state_key": state_key, "sender": "@a:b.org", "content": content })
    }

    #[test]
    fn what_came_with_an_invite_describes_the_room() {
        let room = room_id!("!a:b.org");
        let stripped = json!([
            event("m.room.create", "", json!({ "room_version": "11", "type": "m.space" })),
            event("m.room.name", "", json!({ "name": "Name" })),
            event("m.room.name", "other", json!({ "name": "Other" })),
            event("m.room.topic", "", json!({ "m.topic": { "m.text": [{ "body": "Topic" }] } })),
            event("m.room.join_rules", "", json!({ "join_rule": "knock" })),
            event("m.room.encryption", "", json!({ "algorithm": "m.megolm.v1.aes-sha2" })),
            event("m.room.member", "@a:b.org", json!({ "membership": "join" })),
            event("m.room.member", "@b:c.org", json!({ "membership": "invite" })),
        ]);
        let summary = summary(room, &stripped.to_string()).unwrap();
        let expected = json!({
            "room_id": room, "name": "Name", "topic": "Topic", "num_joined_members": 1, "guest_can_join": false,
            "world_readable": false, "join_rule": "knock", "room_type": "m.space",
            "room_version": "11", "encryption": "m.megolm.v1.aes-sha2",
        });
        assert_eq!(serde_json::to_value(summary).unwrap(), expected);
    }

    #[test]
    fn nothing_is_a_closed_room_and_nonsense_is_none() {
        let room = room_id!("!a:b.org");
        let closed = summary(room, "[]").unwrap();
        assert_eq!(
            (closed.listed.join_rule.as_deref(), closed.room_version),
            (Some("invite"), None)
        );
        for nonsense in ["", "{}", "[1]", r#"[{ "type": "m.room.name" }]"#] {
            assert!(summary(room, nonsense).is_none(), "{nonsense}");
        }
    }
}
