//! What of an event can be searched. Pure.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#search-categories>

use std::collections::HashSet;

use ruma::events::TimelineEventType;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::number;
use crate::{
    events::Pdu,
    rooms::{append::relations, topic},
    words,
};

/// How many words of one event are in the index at most.
const MOST_TERMS: usize = 500;

/// The fields that can be searched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// `content.body` of `m.room.message`.
    Body,
    /// `content.name` of `m.room.name`.
    Name,
    /// `content.topic` and the plain text of `m.topic` of `m.room.topic`.
    Topic,
}

impl Key {
    /// All there are.
    pub const ALL: [Self; 3] = [Self::Body, Self::Name, Self::Topic];

    /// What stands for it in the index.
    #[must_use]
    pub fn number(self) -> i16 {
        match self {
            Self::Body => 0,
            Self::Name => 1,
            Self::Topic => 2,
        }
    }
}

/// The text of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// Where it stands.
    pub key: Key,
    /// The text.
    pub text: String,
}

impl Document {
    /// The text of an event; `None` when there is nothing to search. Of an edit it is the text that
    /// takes the place of the earlier one, without the mark that it is an edit.
    #[must_use]
    pub fn of(pdu: &Pdu) -> Option<Self> {
        let is_state = pdu.state_key.as_deref() == Some("");
        let (key, text) = match pdu.kind {
            TimelineEventType::RoomMessage if pdu.state_key.is_none() => (Key::Body, body(pdu)),
            TimelineEventType::RoomName if is_state => (Key::Name, pdu.content_str("name")),
            TimelineEventType::RoomTopic if is_state => (Key::Topic, topics(pdu)),
            _ => return None,
        };
        let text = text.filter(|text| !text.is_empty())?;
        Some(Self { key, text })
    }

    /// What stands for its words in the index, each once.
    #[must_use]
    pub fn terms(&self) -> Vec<i64> {
        let mut seen = HashSet::new();
        let runs = words::pieces(&self.text).flat_map(|piece| piece.runs);
        let terms = runs.flat_map(|run| run.terms()).map(|term| number(&term));
        terms.filter(|term| seen.insert(*term)).take(MOST_TERMS).collect()
    }
}

/// Of which event this one is an edit, if it is one.
#[must_use]
pub fn edited(pdu: &Pdu) -> Option<String> {
    let relation = relations::of(pdu)?;
    let is_edit = relation.rel_type == "m.replace" && pdu.state_key.is_none();
    is_edit.then_some(relation.event_id)
}

fn body(pdu: &Pdu) -> Option<String> {
    #[derive(Deserialize)]
    struct Edit<'a> {
        #[serde(borrow, rename = "m.new_content")]
        new_content: New<'a>,
    }
    #[derive(Deserialize)]
    struct New<'a> {
        #[serde(borrow)]
        body: Option<&'a RawValue>,
    }
    if edited(pdu).is_some() {
        let edit: Edit<'_> = serde_json::from_str(pdu.content.get()).ok()?;
        return serde_json::from_str(edit.new_content.body?.get()).ok();
    }
    pdu.content_str("body")
}

/// The short topic and the plain one.
fn topics(pdu: &Pdu) -> Option<String> {
    match (pdu.content_str("topic"), topic::plain(&pdu.content)) {
        (Some(short), Some(plain)) if short != plain => Some(format!("{short}\n{plain}")),
        (short, plain) => plain.or(short),
    }
}

#[cfg(test)]
mod tests {
    use ruma::room_version_rules::RoomVersionRules;
    use serde_json::{Value, json};

    use super::*;

    fn document(kind: &str, state_key: Option<&str>, content: Value) -> Option<Document> {
        let mut event = json!({
            "type": kind, "room_id": "!r:x.org", "sender": "@a:x.org", "content": content,
            "prev_events": [], "auth_events": [], "depth": 3, "origin_server_ts": 7,
            "hashes": { "sha256": "h" }, "signatures": {},
        });
        if let Some(state_key) = state_key {
            event["state_key"] = json!(state_key);
        }
        Document::of(&Pdu::from_json(&event.to_string(), &RoomVersionRules::V11).unwrap())
    }

    fn text(kind: &str, state_key: Option<&str>, content: Value) -> Option<(Key, String)> {
        document(kind, state_key, content).map(|document| (document.key, document.text))
    }

    #[test]
    fn what_can_be_searched() {
        let message = text("m.room.message", None, json!({ "body": "b", "name": "n" }));
        assert_eq!(message, Some((Key::Body, "b".to_owned())));
        let name = text("m.room.name", Some(""), json!({ "name": "n" }));
        assert_eq!(name, Some((Key::Name, "n".to_owned())));
        let topic = json!({ "topic": "t", "m.topic": { "m.text": [
            { "mimetype": "text/html", "body": "<b>" }, { "body": "long" },
        ] } });
        let topic = text("m.room.topic", Some(""), topic);
        assert_eq!(topic, Some((Key::Topic, "t\nlong".to_owned())));
        let block = json!({ "m.topic": { "m.text": [{ "mimetype": "text/plain", "body": "p" }] } });
        let block = text("m.room.topic", Some(""), block);
        assert_eq!(block, Some((Key::Topic, "p".to_owned())));
    }

    #[test]
    fn of_an_edit_it_is_the_new_text() {
        let relation = json!({ "rel_type": "m.replace", "event_id": "$x" });
        let edit = json!({
            "body": "* new", "m.relates_to": relation, "m.new_content": { "body": "new" },
        });
        let edit = text("m.room.message", None, edit);
        assert_eq!(edit, Some((Key::Body, "new".to_owned())));
        let without = json!({ "body": "* new", "m.relates_to": relation });
        assert_eq!(text("m.room.message", None, without), None);
    }

    #[test]
    fn what_cannot_be_searched() {
        for (kind, state_key, content) in [
            ("m.room.message", None, json!({})),
            ("m.room.message", None, json!({ "body": 1 })),
            ("m.room.message", None, json!({ "body": "" })),
            ("m.room.message", Some(""), json!({ "body": "b" })),
            ("m.room.name", None, json!({ "name": "n" })),
            ("m.room.name", Some("x"), json!({ "name": "n" })),
            ("m.room.topic", Some(""), json!({ "topic": [] })),
            ("m.room.encrypted", None, json!({ "body": "b" })),
        ] {
            assert_eq!(text(kind, state_key, content.clone()), None, "{kind} {content}");
        }
    }

    #[test]
    fn words_are_in_the_index_once_and_not_without_end() {
        let terms = |body: &str| {
            document("m.room.message", None, json!({ "body": body })).unwrap().terms().len()
        };
        assert_eq!(terms("yes yes YES no"), 2);
        let many: Vec<String> = (0..10_000).map(|n| n.to_string()).collect();
        assert_eq!(terms(&many.join(" ")), MOST_TERMS);
    }
}
