//! The event format of each room version: the first check on receipt of a PDU.
//!
//! <https://spec.matrix.org/v1.19/server-server-api/#checks-performed-on-receipt-of-a-pdu>

use ruma::{
    CanonicalJsonObject, CanonicalJsonValue, OwnedEventId, OwnedRoomId, RoomId,
    canonical_json::CanonicalJsonObjectExt, room_version_rules::RoomVersionRules,
    state_res::check_pdu_format,
};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Canonical, Pdu, canonical::CanonicalError, hashes};

/// The size of a PDU as canonical JSON, with signatures and without `unsigned`, in bytes.
pub const MAX_PDU_BYTES: usize = 65_536;

/// The length of event types, state keys and identifiers, in bytes.
pub const MAX_ID_BYTES: usize = 255;

/// The size of a PDU's text as it arrives, in bytes: escapes, white space and `unsigned` may add
/// to its canonical size, but not without end.
const MAX_TEXT_BYTES: usize = 8 * MAX_PDU_BYTES;

/// The top-level fields that `ruma`'s format check reads.
const CHECKED_BY_RUMA: [&str; 8] =
    ["auth_events", "depth", "event_id", "prev_events", "room_id", "sender", "state_key", "type"];

/// Why a PDU is dropped. The variants say what can be reported about it.
#[derive(Debug, thiserror::Error)]
pub enum PduError {
    /// It is so broken that it has no event ID: it cannot be answered by name.
    #[error("not an event: {0}")]
    Unidentified(#[from] CanonicalError),
    /// It has an event ID, under which the refusal can be reported.
    #[error("event {event_id} is refused: {reason}")]
    Refused {
        /// The ID that the event has, or claims to have in room versions 1 and 2.
        event_id: OwnedEventId,
        /// The room, if that field is well-formed.
        room_id: Option<OwnedRoomId>,
        /// What is wrong, for a log and for the peer.
        reason: String,
    },
    /// It is JSON, but lacks what an event ID is made of.
    #[error("not an event: {0}")]
    NoEventId(String),
}

/// Reads the room of a PDU, to learn by which room version it is to be read.
///
/// `None` when there is none, as in the create event of a room of version 12.
#[must_use]
pub fn room_id_of(json: &str) -> Option<OwnedRoomId> {
    #[derive(Deserialize)]
    struct OnlyRoom {
        room_id: Option<OwnedRoomId>,
    }
    serde_json::from_str::<OnlyRoom>(json).ok()?.room_id
}

impl Pdu {
    /// Reads an event that came from another server, and checks its format.
    ///
    /// `unsigned` is dropped: it is not signed, so what a peer says there is not believed. The hash
    /// and the signatures are not checked here (see [`super::hashes`] and [`super::verify`]).
    ///
    /// # Errors
    ///
    /// When the event must be dropped; see [`PduError`].
    pub fn from_json(json: &str, rules: &RoomVersionRules) -> Result<Self, PduError> {
        if json.len() > MAX_TEXT_BYTES {
            return Err(PduError::NoEventId(format!("larger than {MAX_TEXT_BYTES} bytes")));
        }
        Self::from_canonical(Canonical::parse(json, rules)?, rules)
    }

    /// Reads an event that is already parsed, and checks its format as [`Pdu::from_json`] does.
    ///
    /// # Errors
    ///
    /// When the event must be dropped; see [`PduError`].
    pub fn from_canonical(
        mut event: Canonical,
        rules: &RoomVersionRules,
    ) -> Result<Self, PduError> {
        event.object_mut().remove("unsigned");
        let event_id = event_id(&event, rules).map_err(PduError::NoEventId)?;
        let room_id = room_id(event.object(), &event_id, rules);
        let refuse = |reason: String| PduError::Refused {
            event_id: event_id.clone(),
            room_id: room_id.as_ref().ok().cloned(),
            reason,
        };

        let json = event.to_text();
        check_format(event.object(), json.len(), rules).map_err(refuse)?;
        let room_id = room_id.clone().map_err(refuse)?;
        let pdu = RawValue::from_string(json)
            .and_then(|json| Self::from_stored(event_id.clone(), room_id, json, false, rules))
            .map_err(|error| refuse(error.to_string()))?;
        check_references(&pdu).map_err(refuse)?;
        Ok(pdu)
    }
}

/// The event's ID: in the JSON in room versions 1 and 2, its reference hash since.
///
/// An `event_id` in the JSON of a later version means nothing. It is tolerated like any unknown
/// field and is part of what is hashed and signed, as the redaction algorithm keeps it, but it is
/// never taken for the event's ID.
fn event_id(event: &Canonical, rules: &RoomVersionRules) -> Result<OwnedEventId, String> {
    if !rules.event_format.require_event_id {
        return hashes::event_id(event, rules).map_err(|error| error.to_string());
    }
    let id = event
        .object()
        .get_as_required_string("event_id", "event_id")
        .map_err(|error| error.to_string())?;
    if id.len() > MAX_ID_BYTES {
        return Err(format!("`event_id` is longer than {MAX_ID_BYTES} bytes"));
    }
    OwnedEventId::try_from(id).map_err(|error| format!("`event_id`: {error}"))
}

/// The event's room. Since room version 12 the create event must not say it: its ID is the room's.
fn room_id(
    event: &CanonicalJsonObject,
    event_id: &OwnedEventId,
    rules: &RoomVersionRules,
) -> Result<OwnedRoomId, String> {
    let is_create = event.get("type").and_then(CanonicalJsonValue::as_str) == Some("m.room.create");
    if is_create && !rules.event_format.require_room_create_room_id {
        if event.contains_key("room_id") {
            return Err("a create event of this room version must not have a `room_id`".to_owned());
        }
        let hash = event_id.as_str().trim_start_matches('$');
        return RoomId::parse(format!("!{hash}")).map_err(|error| format!("`room_id`: {error}"));
    }
    let room_id =
        event.get_as_required_string("room_id", "room_id").map_err(|error| error.to_string())?;
    if room_id.len() > MAX_ID_BYTES {
        return Err(format!("`room_id` is longer than {MAX_ID_BYTES} bytes"));
    }
    OwnedRoomId::try_from(room_id).map_err(|error| format!("`room_id`: {error}"))
}

fn check_format(
    event: &CanonicalJsonObject,
    size: usize,
    rules: &RoomVersionRules,
) -> Result<(), String> {
    if size > MAX_PDU_BYTES {
        return Err(format!("larger than {MAX_PDU_BYTES} bytes"));
    }
    // `ruma` measures the size too, and allows one byte less than the specification does: it gets
    // only the fields it reads.
    let checked = event.iter().filter(|(key, _)| CHECKED_BY_RUMA.contains(&key.as_str()));
    let checked = checked.map(|(key, value)| (key.clone(), shortened(key, value, rules)));
    check_pdu_format(&checked.collect(), &rules.event_format)?;

    let describe = |error: ruma::canonical_json::CanonicalJsonFieldError| error.to_string();
    event.get_as_required_object("content", "content").map_err(describe)?;
    event.get_as_required_object("signatures", "signatures").map_err(describe)?;
    let hashes = event.get_as_required_object("hashes", "hashes").map_err(describe)?;
    hashes.get_as_required_string("sha256", "hashes.sha256").map_err(describe)?;
    match event.get("origin_server_ts") {
        Some(CanonicalJsonValue::Integer(ts)) if i64::from(*ts) >= 0 => Ok(()),
        _ => Err("`origin_server_ts` is not a positive integer".to_owned()),
    }
}

/// The value to be measured. Until room version 11 servers counted the characters of types and state
/// keys, so rooms have such events with more bytes: they are kept, for what follows them, but
/// rejected (see [`has_long_ids`]). The flag is of that version and about something else.
fn shortened(
    key: &str,
    value: &CanonicalJsonValue,
    rules: &RoomVersionRules,
) -> CanonicalJsonValue {
    let counts_characters = !rules.authorization.use_room_create_sender;
    match value {
        CanonicalJsonValue::String(text)
            if counts_characters
                && ["state_key", "type"].contains(&key)
                && text.len() > MAX_ID_BYTES
                && text.chars().count() <= MAX_ID_BYTES =>
        {
            CanonicalJsonValue::String(String::new())
        }
        value => value.clone(),
    }
}

/// Whether an event's type or state key has more bytes than any room version allows.
#[must_use]
pub fn has_long_ids(pdu: &Pdu) -> bool {
    let state_key = pdu.state_key.as_deref().unwrap_or_default();
    pdu.kind.to_string().len() > MAX_ID_BYTES || state_key.len() > MAX_ID_BYTES
}

/// Event IDs without a domain are not measured when they are parsed.
fn check_references(pdu: &Pdu) -> Result<(), String> {
    for id in pdu.prev_events.iter().chain(&pdu.auth_events) {
        if id.as_str().len() > MAX_ID_BYTES {
            return Err(format!("refers to an event ID longer than {MAX_ID_BYTES} bytes"));
        }
        // Where an event names itself, it can claim that.
        if *id == pdu.event_id {
            return Err("refers to itself".to_owned());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn event() -> Value {
        json!({
            "type": "m.room.message",
            "room_id": "!r:x.org",
            "sender": "@a:x.org",
            "content": { "body": "hi" },
            "prev_events": ["$p"],
            "auth_events": ["$a"],
            "depth": 3,
            "origin_server_ts": 1,
            "hashes": { "sha256": "abc" },
            "signatures": {},
            "unsigned": { "age": 5 },
        })
    }

    fn with(field: &str, value: Value) -> String {
        let mut event = event();
        event[field] = value;
        event.to_string()
    }

    #[test]
    fn reads_an_event_without_unsigned() {
        let pdu = Pdu::from_json(&event().to_string(), &RoomVersionRules::V11).unwrap();
        assert_eq!(pdu.room_id, "!r:x.org");
        assert_eq!(pdu.event_id.as_str().len(), 44);
        assert!(!pdu.json.get().contains("unsigned"));
        let again = Pdu::from_stored(
            pdu.event_id.clone(),
            pdu.room_id.clone(),
            pdu.json.clone(),
            false,
            &RoomVersionRules::V11,
        )
        .unwrap();
        assert_eq!(again.prev_events, pdu.prev_events);
        assert_eq!(again.content.get(), r#"{"body":"hi"}"#);
    }

    #[test]
    fn refuses_each_malformed_field_by_the_events_name() {
        let long = "x".repeat(256);
        for (field, value) in [
            ("room_id", json!(null)),
            ("room_id", json!("r:x.org")),
            ("room_id", json!(format!("!{long}:x.org"))),
            ("sender", json!("a:x.org")),
            ("sender", json!(7)),
            ("state_key", json!(null)),
            ("state_key", json!(long)),
            ("content", json!([])),
            ("content", json!(null)),
            ("depth", json!(-1)),
            ("depth", json!("3")),
            ("origin_server_ts", json!(-1)),
            ("origin_server_ts", json!("1")),
            ("hashes", json!({})),
            ("hashes", json!(null)),
            ("signatures", json!(null)),
            ("prev_events", json!([["$p", {}]])),
            ("prev_events", json!(["p"])),
            ("prev_events", json!([format!("${long}")])),
            ("prev_events", json!(vec!["$p"; 21])),
            ("auth_events", json!(vec!["$p"; 11])),
            ("auth_events", json!({})),
        ] {
            let refused = Pdu::from_json(&with(field, value.clone()), &RoomVersionRules::V11);
            let Err(PduError::Refused { event_id, .. }) = refused else {
                panic!("{field} = {value}: {refused:?}");
            };
            assert!(event_id.as_str().starts_with('$'));
        }
        let untyped = Pdu::from_json(&with("type", json!(null)), &RoomVersionRules::V11);
        assert!(matches!(untyped, Err(PduError::NoEventId(_))));
    }

    #[test]
    fn counts_size_to_the_byte() {
        let mut event = event();
        let mut size = |fill: usize| {
            event["content"]["body"] = json!("x".repeat(fill));
            Pdu::from_json(&event.to_string(), &RoomVersionRules::V11)
        };
        let base = size(0).unwrap().json.get().len();
        assert_eq!(size(MAX_PDU_BYTES - base).unwrap().json.get().len(), MAX_PDU_BYTES);
        assert!(matches!(size(MAX_PDU_BYTES - base + 1), Err(PduError::Refused { .. })));
        assert!(matches!(size(MAX_TEXT_BYTES), Err(PduError::NoEventId(_))));
    }

    #[test]
    fn old_rooms_name_their_events_and_keep_floats() {
        let mut event = event();
        event["event_id"] = json!("$e:x.org");
        event["prev_events"] = json!([["$p:x.org", { "sha256": "h" }]]);
        event["auth_events"] = json!([]);
        event["content"]["f"] = json!(1.5);
        let pdu = Pdu::from_json(&event.to_string(), &RoomVersionRules::V2).unwrap();
        assert_eq!(pdu.event_id, "$e:x.org");
        assert_eq!(pdu.prev_events, ["$p:x.org"]);
        assert_eq!(pdu.content.get(), r#"{"body":"hi","f":1.5}"#);
        event["depth"] = json!(1.5);
        let refused = Pdu::from_json(&event.to_string(), &RoomVersionRules::V2);
        assert!(matches!(refused, Err(PduError::Refused { .. })));
    }

    #[test]
    fn an_event_does_not_refer_to_itself() {
        for field in ["prev_events", "auth_events"] {
            let mut event = event();
            event["event_id"] = json!("$e:x.org");
            event["prev_events"] = json!([]);
            event["auth_events"] = json!([]);
            event[field] = json!([["$e:x.org", { "sha256": "h" }]]);
            let refused = Pdu::from_json(&event.to_string(), &RoomVersionRules::V1);
            assert!(matches!(refused, Err(PduError::Refused { .. })), "{field}");
        }
    }

    #[test]
    fn old_rooms_count_characters() {
        let state_key = json!("\u{1f600}".repeat(64));
        let old = Pdu::from_json(&with("state_key", state_key.clone()), &RoomVersionRules::V10);
        assert!(has_long_ids(&old.unwrap()));
        let new = Pdu::from_json(&with("state_key", state_key), &RoomVersionRules::V11);
        assert!(matches!(new, Err(PduError::Refused { .. })));
        let longer = json!("\u{1f600}".repeat(256));
        let longer = Pdu::from_json(&with("state_key", longer), &RoomVersionRules::V10);
        assert!(matches!(longer, Err(PduError::Refused { .. })));
    }

    #[test]
    fn a_foreign_event_id_is_part_of_the_event_but_not_its_name() {
        let pdu = Pdu::from_json(&with("event_id", json!("$lie")), &RoomVersionRules::V11).unwrap();
        assert_ne!(pdu.event_id, "$lie");
        assert!(pdu.json.get().contains("$lie"));
    }

    #[test]
    fn a_create_event_of_version_12_names_its_room() {
        let mut event = event();
        event["type"] = json!("m.room.create");
        event["state_key"] = json!("");
        event["auth_events"] = json!([]);
        event["prev_events"] = json!([]);
        let with_room = Pdu::from_json(&event.to_string(), &RoomVersionRules::V12);
        assert!(matches!(with_room, Err(PduError::Refused { .. })));
        event.as_object_mut().unwrap().remove("room_id");
        let pdu = Pdu::from_json(&event.to_string(), &RoomVersionRules::V12).unwrap();
        assert_eq!(format!("${}", pdu.room_id.strip_sigil()), pdu.event_id.as_str());
        assert!(pdu.names_its_room());
        let old = Pdu::from_json(&event.to_string(), &RoomVersionRules::V11);
        assert!(matches!(old, Err(PduError::Refused { room_id: None, .. })));
    }

    fn odd_value() -> impl Strategy<Value = Value> {
        prop_oneof![
            Just(json!(null)),
            Just(json!([])),
            Just(json!({})),
            Just(json!("$a:b")),
            Just(json!("!a")),
            Just(json!("@a:b")),
            Just(json!([["$a:b", {}]])),
            Just(json!({ "redacts": 5, "membership": [], "third_party_invite": 1 })),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            ".*".prop_map(Value::from),
        ]
    }

    proptest! {
        /// Odd fields are refused or read; what is read can be stored and read again, the same.
        #[test]
        fn survives_odd_events(
            fields in prop::collection::vec((0..12_usize, odd_value()), 1..4),
            version in 0..12_usize,
            kind in prop_oneof![Just("m.room.create"), Just("m.room.redaction"), Just("x")],
        ) {
            let rules = crate::rooms::versions::SUPPORTED[version].rules().unwrap();
            let mut event = event();
            event["type"] = json!(kind);
            if rules.event_format.require_event_id {
                event["event_id"] = json!("$e:x.org");
                event["prev_events"] = json!([]);
                event["auth_events"] = json!([]);
            }
            let names = [
                "type", "room_id", "sender", "content", "prev_events", "auth_events", "depth",
                "origin_server_ts", "hashes", "signatures", "state_key", "redacts",
            ];
            for (field, value) in fields {
                event[names[field]] = value;
            }
            if let Ok(pdu) = Pdu::from_json(&event.to_string(), &rules) {
                let again = Pdu::from_json(pdu.json.get(), &rules).unwrap();
                prop_assert_eq!(again.event_id, pdu.event_id.clone());
                prop_assert_eq!(again.json.get(), pdu.json.get());
                let _ = crate::events::verify::signing_keys(&pdu, &rules);
                let redacted = crate::events::redact::redact(&pdu, &rules).unwrap();
                let redacted = Pdu::from_json(redacted.json.get(), &rules).unwrap();
                prop_assert_eq!(redacted.event_id, pdu.event_id);
            }
        }
    }
}
