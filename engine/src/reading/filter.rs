//! Filters: what a client wants to be shown. Pure.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#filtering>

use ruma::UserId;
use serde::{Deserialize, Deserializer, de::DeserializeOwned, de::Error as _};
use serde_json::value::RawValue;

use crate::{events::Pdu, rooms::append::relations};

/// How long a filter's JSON may be, in bytes.
pub const LONGEST: usize = 64 * 1024;

/// The filter is not one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a filter: {0}")]
pub struct BadFilter(String);

/// A filter for /sync.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Filter {
    /// Which fields of events are wanted, as dotted paths; `None`: all.
    pub event_fields: Option<Vec<String>>,
    /// In which shape events are wanted.
    pub event_format: EventFormat,
    /// Presence updates.
    #[serde(deserialize_with = "object")]
    pub presence: EventFilter,
    /// Global account data.
    #[serde(deserialize_with = "object")]
    pub account_data: EventFilter,
    /// Rooms.
    #[serde(deserialize_with = "object")]
    pub room: RoomFilter,
}

/// In which shape events are wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventFormat {
    /// For clients.
    #[default]
    Client,
    /// As servers send them.
    Federation,
}

/// What is wanted of rooms.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct RoomFilter {
    /// Rooms that are not wanted, whatever `rooms` says.
    pub not_rooms: Option<Vec<String>>,
    /// The rooms that are wanted; `None`: all.
    pub rooms: Option<Vec<String>>,
    /// Typing and receipts.
    #[serde(deserialize_with = "object")]
    pub ephemeral: EventFilter,
    /// Whether rooms that the user has left are wanted.
    pub include_leave: bool,
    /// State.
    #[serde(deserialize_with = "object")]
    pub state: EventFilter,
    /// The timeline.
    #[serde(deserialize_with = "object")]
    pub timeline: EventFilter,
    /// Account data of rooms.
    #[serde(deserialize_with = "object")]
    pub account_data: EventFilter,
}

/// Which events are wanted: the specification's `EventFilter` and `RoomEventFilter` in one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct EventFilter {
    /// How many at most.
    pub limit: Option<u64>,
    /// Senders that are not wanted, whatever `senders` says.
    pub not_senders: Option<Vec<String>>,
    /// Types that are not wanted, whatever `types` says; `*` stands for any characters.
    pub not_types: Option<Vec<String>>,
    /// The senders that are wanted; `None`: all.
    pub senders: Option<Vec<String>>,
    /// The types that are wanted; `None`: all.
    pub types: Option<Vec<String>>,
    /// Rooms that are not wanted, whatever `rooms` says.
    pub not_rooms: Option<Vec<String>>,
    /// The rooms that are wanted; `None`: all.
    pub rooms: Option<Vec<String>>,
    /// Only events whose content has (`true`) or has not (`false`) a `url`.
    pub contains_url: Option<bool>,
    /// Only events that relate to another in one of these ways.
    #[serde(rename = "org.matrix.msc3874.rel_types")]
    pub rel_types: Option<Vec<String>>,
    /// No events that relate to another in one of these ways, whatever `rel_types` says.
    #[serde(rename = "org.matrix.msc3874.not_rel_types")]
    pub not_rel_types: Option<Vec<String>>,
    /// Only events to which others relate in one of these ways.
    #[serde(alias = "io.element.relation_types")]
    pub related_by_rel_types: Option<Vec<String>>,
    /// Only events to which events of these senders relate.
    #[serde(alias = "io.element.relation_senders")]
    pub related_by_senders: Option<Vec<String>>,
    /// Whether only those member events are wanted that other events need.
    pub lazy_load_members: bool,
    /// Whether member events are wanted again that were sent before.
    pub include_redundant_members: bool,
    /// Whether unread counts are wanted thread by thread.
    pub unread_thread_notifications: bool,
}

impl Filter {
    /// Reads and checks a filter.
    ///
    /// # Errors
    ///
    /// [`BadFilter`].
    pub fn parse(json: &str) -> Result<Self, BadFilter> {
        let filter: Self = parse(json)?;
        filter.check()?;
        Ok(filter)
    }

    fn check(&self) -> Result<(), BadFilter> {
        let room = &self.room;
        check_ids(&room.rooms, '!')?;
        check_ids(&room.not_rooms, '!')?;
        let parts = [&room.ephemeral, &room.state, &room.timeline, &room.account_data];
        let parts = parts.into_iter().chain([&self.presence, &self.account_data]);
        parts.into_iter().try_for_each(EventFilter::check)
    }

    /// Whether members are to be loaded lazily.
    #[must_use]
    pub fn lazy_load_members(&self) -> bool {
        self.room.state.lazy_load_members
    }
}

impl EventFilter {
    /// Reads and checks a filter for the events of one room.
    ///
    /// # Errors
    ///
    /// [`BadFilter`].
    pub fn parse(json: &str) -> Result<Self, BadFilter> {
        let filter: Self = parse(json)?;
        filter.check()?;
        Ok(filter)
    }

    fn check(&self) -> Result<(), BadFilter> {
        check_ids(&self.rooms, '!')?;
        check_ids(&self.not_rooms, '!')?;
        check_ids(&self.senders, '@')?;
        check_ids(&self.related_by_senders, '@')?;
        check_ids(&self.not_senders, '@')
    }

    /// How many events are wanted, of a default and a maximum.
    #[must_use]
    pub fn limit(&self, default: usize, maximum: usize) -> usize {
        let limit = self.limit.map(|limit| usize::try_from(limit).unwrap_or(usize::MAX));
        limit.unwrap_or(default).min(maximum)
    }

    /// Whether something in a room is wanted.
    #[must_use]
    pub fn wants_room(&self, room_id: &str) -> bool {
        is_listed(&self.rooms, &self.not_rooms, |listed| listed == room_id)
    }

    /// Whether something of a type is wanted.
    #[must_use]
    pub fn wants_type(&self, kind: &str) -> bool {
        is_listed(&self.types, &self.not_types, |pattern| matches_pattern(pattern, kind))
    }

    /// Whether something of a sender is wanted.
    #[must_use]
    pub fn wants_sender(&self, sender: &UserId) -> bool {
        is_listed(&self.senders, &self.not_senders, |listed| listed == sender.as_str())
    }

    /// Whether an event is wanted.
    #[must_use]
    pub fn wants(&self, pdu: &Pdu) -> bool {
        self.wants_room(pdu.room_id.as_str())
            && self.wants_sender(&pdu.sender)
            && self.wants_type(&pdu.kind.to_string())
            && self.contains_url.is_none_or(|wanted| wanted == has_url(pdu))
            && self.wants_relation(pdu)
    }

    fn wants_relation(&self, pdu: &Pdu) -> bool {
        if self.rel_types.is_none() && self.not_rel_types.is_none() {
            return true;
        }
        let relation = relations::of(pdu).map(|relation| relation.rel_type);
        let is = |listed: &str| relation.as_deref() == Some(listed);
        is_listed(&self.rel_types, &self.not_rel_types, is)
    }

    /// Whether it depends on other events whether one is wanted: on those that relate to it.
    #[must_use]
    pub fn asks_for_relations(&self) -> bool {
        self.related_by_rel_types.is_some() || self.related_by_senders.is_some()
    }
}

impl RoomFilter {
    /// Whether a room is wanted.
    #[must_use]
    pub fn wants_room(&self, room_id: &str) -> bool {
        is_listed(&self.rooms, &self.not_rooms, |listed| listed == room_id)
    }
}

fn parse<T: DeserializeOwned>(json: &str) -> Result<T, BadFilter> {
    if json.len() > LONGEST {
        return Err(BadFilter(format!("longer than {LONGEST} bytes")));
    }
    let mut reader = serde_json::Deserializer::from_str(json);
    let filter = object(&mut reader).and_then(|filter| reader.end().map(|()| filter));
    filter.map_err(|error| BadFilter(error.to_string()))
}

/// Reads a JSON object; a derived `Deserialize` would take an array of the fields, too.
fn object<'de, D: Deserializer<'de>, T: DeserializeOwned>(reader: D) -> Result<T, D::Error> {
    let fields = serde_json::Map::deserialize(reader)?;
    serde_json::from_value(fields.into()).map_err(D::Error::custom)
}

fn check_ids(ids: &Option<Vec<String>>, sigil: char) -> Result<(), BadFilter> {
    let sound = |id: &String| {
        id.starts_with(sigil) && id.len() <= 255 && (sigil == '!' || id.contains(':'))
    };
    match ids.iter().flatten().find(|id| !sound(id)) {
        Some(id) => Err(BadFilter(format!("{id:?} is not an identifier"))),
        None => Ok(()),
    }
}

fn is_listed(
    wanted: &Option<Vec<String>>,
    unwanted: &Option<Vec<String>>,
    matches: impl Fn(&str) -> bool,
) -> bool {
    !unwanted.iter().flatten().any(|entry| matches(entry))
        && wanted.as_ref().is_none_or(|wanted| wanted.iter().any(|entry| matches(entry)))
}

/// Whether a text has the form of a pattern in which `*` stands for any characters.
fn matches_pattern(pattern: &str, text: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(mut text) = text.strip_prefix(start) else { return false };
    let mut pieces: Vec<&str> = rest.split('*').collect();
    let Some(last) = pieces.pop() else { return true };
    for piece in pieces {
        let Some((_, after)) = text.split_once(piece) else { return false };
        text = after;
    }
    text.ends_with(last)
}

fn has_url(pdu: &Pdu) -> bool {
    #[derive(Deserialize)]
    struct Content<'a> {
        #[serde(borrow, default)]
        url: Option<&'a RawValue>,
    }
    serde_json::from_str::<Content<'_>>(pdu.content.get()).is_ok_and(|c| c.url.is_some())
}

#[cfg(test)]
mod tests {
    use ruma::{room_version_rules::RoomVersionRules, user_id};
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_not_a_filter_is_refused() {
        for json in [
            "",
            "[]",
            "nope",
            "\"x\"",
            "null",
            r#"{"event_fields": "type"}"#,
            r#"{"event_format": "xml"}"#,
            r#"{"presence": "all"}"#,
            r#"{"presence": {"senders": ["not_a_sender_id"]}}"#,
            r#"{"account_data": {"limit": -1}}"#,
            r#"{"room": {"rooms": ["not_a_room_id"]}}"#,
            r#"{"room": {"timeline": {"rooms": ["not_a_room_id"]}}}"#,
            r#"{"room": {"timeline": {"limit": 1.5}}}"#,
            r#"{"room": {"timeline": {"types": [1]}}}"#,
            r#"{"room": {"state": []}}"#,
            r#"{"room": 1}"#,
        ] {
            assert!(Filter::parse(json).is_err(), "{json}");
        }
        let long = format!(r#"{{"event_fields": ["{}"]}}"#, "x".repeat(LONGEST));
        assert!(Filter::parse(&long).is_err());
        assert!(EventFilter::parse(r#"{"senders": ["x"]}"#).is_err());
    }

    #[test]
    fn unknown_fields_and_odd_identifiers_are_accepted() {
        let json = r#"{"org.example": {}, "room": {"rooms": ["!r"], "timeline": {"limit": 0,
            "not_senders": ["@ünï:x", "@:x"], "lazy_load_members": true}}}"#;
        let filter = Filter::parse(json).unwrap();
        assert_eq!(filter.room.timeline.limit(10, 100), 0);
        assert_eq!(EventFilter::default().limit(10, 100), 10);
    }

    #[test]
    fn exclusion_goes_before_inclusion() {
        let filter = EventFilter::parse(
            r#"{"types": ["m.room.*", "x"], "not_types": ["*.topic"], "senders": ["@a:x"]}"#,
        )
        .unwrap();
        assert!(filter.wants_type("m.room.name") && filter.wants_type("x"));
        assert!(!filter.wants_type("m.room.topic") && !filter.wants_type("m.tag"));
        assert!(filter.wants_sender(user_id!("@a:x")) && !filter.wants_sender(user_id!("@b:x")));
        let none = EventFilter::parse(r#"{"types": [], "rooms": ["!r"], "not_rooms": ["!r"]}"#);
        let none = none.unwrap();
        assert!(!none.wants_type("x") && !none.wants_room("!r"));
    }

    #[test]
    fn patterns() {
        for (pattern, text, wanted) in [
            ("*", "", true),
            ("a*c", "abc", true),
            ("a*c", "ac", true),
            ("a*c", "acb", false),
            ("a*b*c", "aXbYbc", true),
            ("aa*aa", "aaa", false),
            ("a**", "ab", true),
            ("a?", "ab", false),
            ("*é*", "caf\u{e9}!", true),
        ] {
            assert_eq!(matches_pattern(pattern, text), wanted, "{pattern} {text}");
        }
    }

    fn pdu(content: serde_json::Value) -> Pdu {
        let event = json!({
            "type": "m.room.message", "room_id": "!r:x.org", "sender": "@a:x.org",
            "content": content, "prev_events": [], "auth_events": [], "depth": 3,
            "origin_server_ts": 7, "hashes": { "sha256": "h" }, "signatures": {},
        });
        Pdu::from_json(&event.to_string(), &RoomVersionRules::V11).unwrap()
    }

    #[test]
    fn the_way_in_which_an_event_relates_counts() {
        let filter = |json: &str| EventFilter::parse(json).unwrap();
        let threads = filter(r#"{"org.matrix.msc3874.rel_types": ["m.thread"]}"#);
        let others = filter(r#"{"org.matrix.msc3874.not_rel_types": ["m.thread"]}"#);
        let relation = |kind| json!({ "m.relates_to": { "rel_type": kind, "event_id": "$e" } });
        let (reply, edit) = (pdu(relation("m.thread")), pdu(relation("m.replace")));
        let plain = pdu(json!({}));
        assert_eq!([&reply, &edit, &plain].map(|pdu| threads.wants(pdu)), [true, false, false]);
        assert_eq!([&reply, &edit, &plain].map(|pdu| others.wants(pdu)), [false, true, true]);
    }

    #[test]
    fn a_url_in_the_content_counts() {
        let with = EventFilter { contains_url: Some(true), ..EventFilter::default() };
        let without = EventFilter { contains_url: Some(false), ..EventFilter::default() };
        let (image, text) = (pdu(json!({ "url": "mxc://x/y" })), pdu(json!({ "body": "url" })));
        assert!(with.wants(&image) && !with.wants(&text));
        assert!(!without.wants(&image) && without.wants(&text));
    }
}
