//! One line of a space: an `m.space.child` event. Pure.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#mspacechild>

use std::cmp::Ordering;

use ruma::{OwnedRoomId, OwnedServerName, OwnedUserId};
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};

use crate::events::Pdu;

/// The type of the event.
pub const KIND: &str = "m.space.child";

/// How many servers of one child are kept.
const MAX_VIA: usize = 10;

/// How long an `order` may be.
const MAX_ORDER: usize = 50;

/// How large an event may be; no real one is larger.
const MAX_BYTES: usize = 65_536;

/// A room that a space lists.
#[derive(Clone, Debug)]
pub struct Child {
    /// The room.
    pub room_id: OwnedRoomId,
    /// Servers that may be in it.
    pub via: Vec<OwnedServerName>,
    /// Whether the space recommends it.
    pub suggested: bool,
    /// The event, stripped, with its `origin_server_ts`.
    pub event: Box<RawValue>,
    order: Option<String>,
    ts: i64,
}

#[derive(Deserialize, Serialize)]
struct Event {
    #[serde(rename = "type")]
    kind: String,
    state_key: String,
    sender: OwnedUserId,
    content: Box<RawValue>,
    origin_server_ts: i64,
}

impl Child {
    /// The child that an event of a room's state lists, unless it lists none (any more).
    #[must_use]
    pub fn of(pdu: &Pdu) -> Option<Self> {
        Self::new(Event {
            kind: pdu.kind.to_string(),
            state_key: pdu.state_key.clone()?,
            sender: pdu.sender.clone(),
            content: pdu.content.clone(),
            origin_server_ts: pdu.origin_server_ts.get().into(),
        })
    }

    /// The same of an event that another server has stripped.
    #[must_use]
    pub fn read(event: &RawValue) -> Option<Self> {
        if event.get().len() > MAX_BYTES {
            return None;
        }
        Self::new(serde_json::from_str(event.get()).ok()?)
    }

    fn new(event: Event) -> Option<Self> {
        #[derive(Deserialize)]
        struct Content<'a> {
            via: Vec<String>,
            #[serde(borrow)]
            order: Option<&'a RawValue>,
            #[serde(borrow)]
            suggested: Option<&'a RawValue>,
        }
        if event.kind != KIND {
            return None;
        }
        let content: Content<'_> = serde_json::from_str(event.content.get()).ok()?;
        // "When not present or invalid, the child room is not considered to be part of the space."
        if content.via.is_empty() {
            return None;
        }
        let servers = content.via.into_iter().filter_map(|name| name.try_into().ok());
        let order = content.order.and_then(|it| serde_json::from_str::<String>(it.get()).ok());
        Some(Self {
            room_id: event.state_key.as_str().try_into().ok()?,
            via: servers.take(MAX_VIA).collect(),
            suggested: content.suggested.is_some_and(|it| it.get() == "true"),
            order: order.filter(|order| is_order(order)),
            ts: event.origin_server_ts,
            event: to_raw_value(&event).ok()?,
        })
    }

    /// Which of two children comes first.
    ///
    /// <https://spec.matrix.org/v1.19/client-server-api/#ordering-of-children-within-a-space>
    #[must_use]
    pub fn compare(&self, other: &Self) -> Ordering {
        // Those without an order come after the others.
        let missing = self.order.is_none().cmp(&other.order.is_none());
        missing
            .then_with(|| self.order.cmp(&other.order))
            .then_with(|| self.ts.cmp(&other.ts))
            .then_with(|| self.room_id.cmp(&other.room_id))
    }
}

fn is_order(order: &str) -> bool {
    (1..=MAX_ORDER).contains(&order.len()) && order.bytes().all(|it| (0x20..=0x7E).contains(&it))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn event(room: &str, ts: i64, content: Value) -> Box<RawValue> {
        to_raw_value(&json!({
            "type": KIND, "state_key": room, "sender": "@a:b.org", "content": content,
            "origin_server_ts": ts, "event_id": "$more", "signatures": {},
        }))
        .unwrap()
    }

    fn child(room: &str, ts: i64, content: Value) -> Option<Child> {
        Child::read(&event(room, ts, content))
    }

    #[test]
    fn only_what_has_a_way_to_it_is_a_child() {
        for content in [
            json!({}),
            json!({ "via": [] }),
            json!({ "via": "b.org" }),
            json!({ "via": [1] }),
            json!({ "via": null }),
            json!([]),
        ] {
            assert!(child("!a:b.org", 1, content.clone()).is_none(), "{content}");
        }
        assert!(child("#a:b.org", 1, json!({ "via": ["b.org"] })).is_none());
        let odd = json!({ "via": ["b.org", "not a name"], "suggested": "true", "order": 3 });
        let odd = child("!a:b.org", 1, odd).unwrap();
        assert_eq!(odd.via, ["b.org"]);
        assert!(!odd.suggested && odd.order.is_none());
        assert!(
            child("!a:b.org", 1, json!({ "via": ["b.org"], "suggested": true })).unwrap().suggested
        );
    }

    #[test]
    fn what_is_shown_is_stripped_and_keeps_its_time() {
        let shown = child("!a:b.org", 7, json!({ "via": ["b.org"], "x": [1.5] })).unwrap().event;
        let shown: Value = serde_json::from_str(shown.get()).unwrap();
        assert_eq!(
            shown,
            json!({ "type": KIND, "state_key": "!a:b.org", "sender": "@a:b.org",
                    "content": { "via": ["b.org"], "x": [1.5] }, "origin_server_ts": 7 })
        );
    }

    #[test]
    fn they_are_ordered_as_the_specification_says() {
        let mut children: Vec<Child> = [
            ("!d:b.org", 50, json!(null)),
            ("!e:b.org", 40, json!("x".repeat(51))),
            ("!f:b.org", 40, json!("\u{e9}")),
            ("!c:b.org", 60, json!("first")),
            ("!b:b.org", 70, json!(" ")),
            ("!a:b.org", 10, json!("aaaa")),
            ("!g:b.org", 9, json!("aaaa")),
        ]
        .into_iter()
        .map(|(room, ts, order)| child(room, ts, json!({ "via": ["b"], "order": order })).unwrap())
        .collect();
        children.sort_by(Child::compare);
        let order: Vec<char> =
            children.iter().map(|child| child.room_id.as_str().chars().nth(1).unwrap()).collect();
        assert_eq!(order, ['b', 'g', 'a', 'c', 'e', 'f', 'd']);
    }
}
