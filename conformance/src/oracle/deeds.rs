//! What people in a graph do: whatever the kinds of event allow to be said, by whoever may or may not.

use ruma::events::StateEventType;
use serde_json::{Value, json};

use super::{
    chance::Chance,
    model::{Model, State},
};

/// Something that somebody does.
#[derive(Clone, Debug)]
pub(super) struct Deed {
    /// Who does it.
    pub(super) sender: String,
    /// The event type.
    pub(super) kind: String,
    /// The state key of a state event.
    pub(super) state_key: Option<String>,
    /// The content.
    pub(super) content: Value,
    /// What is redacted.
    pub(super) redacts: Option<String>,
}

/// What whoever does something has before their eyes.
#[derive(Debug)]
pub(super) struct Sight<'a> {
    /// The room.
    pub(super) model: &'a Model,
    /// The state in which it is done.
    pub(super) before: &'a State,
    /// The number of the room version.
    pub(super) version: u32,
    /// All people of the story.
    pub(super) people: &'a [String],
    /// The events of the story so far.
    pub(super) said: &'a [String],
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Message,
    Topic,
    Name,
    Note,
    Member,
    Power,
    JoinRules,
    Redaction,
    Aliases,
    Visibility,
    Create,
}

const KINDS: [(usize, Kind); 11] = [
    (14, Kind::Message),
    (9, Kind::Topic),
    (6, Kind::Name),
    (9, Kind::Note),
    (30, Kind::Member),
    (16, Kind::Power),
    (8, Kind::JoinRules),
    (5, Kind::Redaction),
    (2, Kind::Aliases),
    (2, Kind::Visibility),
    (1, Kind::Create),
];
const LEVELS: [i64; 8] = [-1, 0, 10, 25, 50, 75, 100, 101];
const MEMBERSHIPS: [(usize, &str); 6] =
    [(30, "join"), (20, "leave"), (18, "ban"), (20, "invite"), (8, "knock"), (1, "dance")];
const JOIN_RULES: [(usize, &str); 7] = [
    (30, "public"),
    (25, "invite"),
    (12, "knock"),
    (15, "restricted"),
    (10, "knock_restricted"),
    (4, "private"),
    (1, "club"),
];
const NAMED_LEVELS: [&str; 7] =
    ["ban", "kick", "invite", "redact", "state_default", "events_default", "users_default"];
const LEVELLED: [&str; 6] = [
    "m.room.topic",
    "m.room.name",
    "m.room.power_levels",
    "m.room.join_rules",
    "m.room.message",
    "org.example.note",
];

/// Draws what somebody does.
pub(super) fn draw(chance: &mut Chance, sight: &Sight<'_>) -> Deed {
    let sender = person(chance, sight);
    let text = format!("{}", chance.below(1_000_000));
    let state = |kind: &str, content: Value| (kind.to_owned(), Some(String::new()), content);
    let mut redacts = None;
    let (kind, state_key, content) = match chance.weighted(&KINDS).unwrap_or(Kind::Message) {
        Kind::Message => {
            ("m.room.message".to_owned(), None, json!({ "msgtype": "m.text", "body": text }))
        }
        Kind::Topic => state("m.room.topic", json!({ "topic": text })),
        Kind::Name => state("m.room.name", json!({ "name": text })),
        Kind::Note => {
            let key = match chance.below(4) {
                0 => String::new(),
                1 => person(chance, sight),
                _ => sender.clone(),
            };
            ("org.example.note".to_owned(), Some(key), json!({ "note": text }))
        }
        Kind::Member => return member(chance, sight, sender, &text),
        Kind::Power => state("m.room.power_levels", power(chance, sight)),
        Kind::JoinRules => state("m.room.join_rules", join_rules(chance)),
        Kind::Redaction if sight.said.is_empty() => state("m.room.topic", json!({})),
        Kind::Redaction => {
            redacts = chance.one(sight.said).cloned();
            ("m.room.redaction".to_owned(), None, json!({ "reason": text }))
        }
        Kind::Aliases => {
            let server = |user: &str| user.split_once(':').map_or("", |(_, it)| it).to_owned();
            let whose = if chance.percent(70) { sender.clone() } else { person(chance, sight) };
            ("m.room.aliases".to_owned(), Some(server(&whose)), json!({ "aliases": [] }))
        }
        Kind::Visibility => {
            let word = if chance.percent(50) { "shared" } else { "world_readable" };
            state("m.room.history_visibility", json!({ "history_visibility": word }))
        }
        // Synapse fails on one in newer rooms, and keeps nothing of it.
        Kind::Create if sight.version > 11 => state("m.room.topic", json!({ "topic": text })),
        Kind::Create => {
            state("m.room.create", json!({ "room_version": sight.version.to_string() }))
        }
    };
    Deed { sender, kind, state_key, content, redacts }
}

fn person(chance: &mut Chance, sight: &Sight<'_>) -> String {
    chance.one(sight.people).cloned().unwrap_or_default()
}

/// What is in force.
fn now(sight: &Sight<'_>, kind: &str, key: &str) -> Value {
    let id = sight.before.get(&(StateEventType::from(kind), key.to_owned()));
    let placed = id.and_then(|id| sight.model.get(id.as_str()));
    placed.map_or(Value::Null, |placed| placed.event.pdu["content"].clone())
}

/// Half of what people do about membership is about their own.
fn member(chance: &mut Chance, sight: &Sight<'_>, sender: String, text: &str) -> Deed {
    let own = chance.percent(50);
    let whose = if own { sender.clone() } else { person(chance, sight) };
    let membership = chance.weighted(&MEMBERSHIPS).unwrap_or("join");
    let mut content = json!({ "membership": membership });
    if chance.percent(30) {
        content["displayname"] = text.into();
    }
    let rule = now(sight, "m.room.join_rules", "");
    let restricted = rule["join_rule"].as_str().is_some_and(|rule| rule.contains("restricted"));
    let vouched = match restricted {
        true => chance.percent(75),
        false => chance.percent(3),
    };
    if membership == "join" && sight.version >= 8 && vouched {
        content["join_authorised_via_users_server"] = person(chance, sight).into();
    }
    Deed {
        sender,
        kind: "m.room.member".to_owned(),
        state_key: Some(whose),
        content,
        redacts: None,
    }
}

fn join_rules(chance: &mut Chance) -> Value {
    let rule = chance.weighted(&JOIN_RULES).unwrap_or("public");
    match rule.contains("restricted") {
        true => json!({ "join_rule": rule, "allow": [
            { "type": "m.room_membership", "room_id": "!club:example.org" },
        ] }),
        false => json!({ "join_rule": rule }),
    }
}

/// The levels in force, changed in a few places.
fn power(chance: &mut Chance, sight: &Sight<'_>) -> Value {
    let mut levels = now(sight, "m.room.power_levels", "");
    if !levels.is_object() {
        levels = json!({});
    }
    for _ in 0..=chance.below(2) {
        let level = chance.one(&LEVELS).copied().unwrap_or_default();
        // Until version 10 a level may be written as a string.
        let level = match sight.version < 10 && chance.percent(8) {
            true => json!(level.to_string()),
            false => json!(level),
        };
        match chance.below(10) {
            0..5 => set(&mut levels, "users", &person(chance, sight), level),
            5 => unset(&mut levels, "users", &person(chance, sight)),
            6 | 7 => {
                let kind = chance.one(&LEVELLED).copied().unwrap_or_default();
                set(&mut levels, "events", kind, level);
            }
            8 => {
                let name = chance.one(&NAMED_LEVELS).copied().unwrap_or_default();
                levels[name] = level;
            }
            _ => set(&mut levels, "notifications", "room", level),
        }
    }
    levels
}

fn set(levels: &mut Value, table: &str, name: &str, level: Value) {
    if !levels[table].is_object() {
        levels[table] = json!({});
    }
    levels[table][name] = level;
}

fn unset(levels: &mut Value, table: &str, name: &str) {
    if let Some(table) = levels[table].as_object_mut() {
        table.remove(name);
    }
}
