//! Events as clients see them. Raw JSON in, raw JSON out: an odd but legal event stays readable.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#room-event-format>

use std::{borrow::Cow, collections::BTreeMap};

use ruma::{
    EventId, OwnedEventId, OwnedUserId, RoomId, UserId, room_version_rules::RoomVersionRules,
};
use serde::Serialize;
use serde_json::value::RawValue;

use super::Pdu;

/// What a server says about an event beside the event itself.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Unsigned {
    /// Milliseconds since the event was sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub age: Option<i64>,
    /// The membership of the user who asks, at the time of the event.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub membership: Option<String>,
    /// The content of the state event that this one replaces.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prev_content: Option<Box<RawValue>>,
    /// The state event that this one replaces.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replaces_state: Option<OwnedEventId>,
    /// Who sent the state event that this one replaces.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prev_sender: Option<OwnedUserId>,
    /// The redaction, in the client format.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub redacted_because: Option<Box<RawValue>>,
    /// The transaction ID by which the asking device sent the event.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub transaction_id: Option<String>,
    /// With an invite to a room that this server is not in: what helps to recognise it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub invite_room_state: Option<Box<RawValue>>,
    /// The same with a knock.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub knock_room_state: Option<Box<RawValue>>,
    /// Bundled aggregations of the event's relations.
    #[serde(rename = "m.relations", skip_serializing_if = "Option::is_none")]
    pub relations: Option<Box<RawValue>>,
}

/// In which shape an event is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// The client format; `/sync` leaves out the room ID, which stands around the event there.
    Client {
        /// Whether to say in which room it is. A create event that names its room always does.
        room_id: bool,
    },
    /// As servers send it, with `unsigned` and the event's ID added: `event_format: federation`.
    Federation,
}

/// Gives an event the shape that a client asked for.
///
/// # Errors
///
/// When the event's JSON is not an event, which no stored event is.
pub fn to_client(
    pdu: &Pdu,
    unsigned: &Unsigned,
    shape: Shape,
    rules: &RoomVersionRules,
) -> Result<Box<RawValue>, serde_json::Error> {
    let Shape::Client { room_id } = shape else { return federation(pdu, unsigned) };
    let room_id = room_id || pdu.names_its_room();
    client_event(pdu, content(pdu, rules)?, room_id, Some(unsigned))
}

/// What push rules can be about: the event as clients know it, without what the server says beside it.
///
/// # Errors
///
/// None in practice: strings and JSON that was parsed before.
pub fn to_rules(pdu: &Pdu) -> Result<Box<RawValue>, serde_json::Error> {
    client_event(pdu, Cow::Borrowed(&*pdu.content), true, None)
}

fn client_event(
    pdu: &Pdu,
    content: Cow<'_, RawValue>,
    room_id: bool,
    unsigned: Option<&Unsigned>,
) -> Result<Box<RawValue>, serde_json::Error> {
    serde_json::value::to_raw_value(&ClientEvent {
        content,
        event_id: &pdu.event_id,
        origin_server_ts: pdu.origin_server_ts.get().into(),
        redacts: pdu.redacts.as_deref(),
        room_id: room_id.then_some(&*pdu.room_id),
        sender: &pdu.sender,
        state_key: pdu.state_key.as_deref(),
        kind: &pdu.kind.to_string(),
        unsigned,
    })
}

/// The little of a state event that is shown to who is not in the room.
///
/// <https://spec.matrix.org/v1.19/client-server-api/#stripped-state>
///
/// # Errors
///
/// None in practice: strings and JSON that was parsed before.
pub fn to_stripped(pdu: &Pdu) -> Result<Box<RawValue>, serde_json::Error> {
    serde_json::value::to_raw_value(&StrippedEvent {
        content: &pdu.content,
        sender: &pdu.sender,
        state_key: pdu.state_key.as_deref(),
        kind: &pdu.kind.to_string(),
    })
}

#[derive(Serialize)]
struct ClientEvent<'a> {
    content: Cow<'a, RawValue>,
    event_id: &'a EventId,
    origin_server_ts: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    redacts: Option<&'a EventId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    room_id: Option<&'a RoomId>,
    sender: &'a UserId,
    #[serde(skip_serializing_if = "Option::is_none")]
    state_key: Option<&'a str>,
    #[serde(rename = "type")]
    kind: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    unsigned: Option<&'a Unsigned>,
}

#[derive(Serialize)]
struct StrippedEvent<'a> {
    content: &'a RawValue,
    sender: &'a UserId,
    state_key: Option<&'a str>,
    #[serde(rename = "type")]
    kind: &'a str,
}

/// The content; that of a redaction says what it redacts in every room version.
fn content<'a>(
    pdu: &'a Pdu,
    rules: &RoomVersionRules,
) -> Result<Cow<'a, RawValue>, serde_json::Error> {
    let Some(redacts) = pdu.redacts.as_ref().filter(|_| !rules.redaction.content_field_redacts)
    else {
        return Ok(Cow::Borrowed(&*pdu.content));
    };
    let redacts = serde_json::value::to_raw_value(redacts)?;
    let mut content: BTreeMap<Cow<'_, str>, &RawValue> = serde_json::from_str(pdu.content.get())?;
    content.insert(Cow::Borrowed("redacts"), &redacts);
    Ok(Cow::Owned(serde_json::value::to_raw_value(&content)?))
}

fn federation(pdu: &Pdu, unsigned: &Unsigned) -> Result<Box<RawValue>, serde_json::Error> {
    let event_id = serde_json::value::to_raw_value(&pdu.event_id)?;
    let room_id = serde_json::value::to_raw_value(&pdu.room_id)?;
    let unsigned = serde_json::value::to_raw_value(unsigned)?;
    let mut event: BTreeMap<Cow<'_, str>, &RawValue> = serde_json::from_str(pdu.json.get())?;
    event.insert(Cow::Borrowed("event_id"), &event_id);
    event.insert(Cow::Borrowed("room_id"), &room_id);
    event.insert(Cow::Borrowed("unsigned"), &unsigned);
    serde_json::value::to_raw_value(&event)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const CLIENT: Shape = Shape::Client { room_id: false };

    fn pdu(changes: Value, rules: &RoomVersionRules) -> Pdu {
        let mut event = json!({
            "type": "m.room.redaction", "room_id": "!r:x.org", "sender": "@a:x.org",
            "content": { "reason": "spam" }, "prev_events": [], "auth_events": [], "depth": 3,
            "origin_server_ts": 7, "hashes": { "sha256": "h" }, "signatures": {},
        });
        for (key, value) in changes.as_object().unwrap() {
            event[key] = value.clone();
        }
        Pdu::from_json(&event.to_string(), rules).unwrap()
    }

    fn shown(pdu: &Pdu, unsigned: &Unsigned, shape: Shape, rules: &RoomVersionRules) -> Value {
        serde_json::from_str(to_client(pdu, unsigned, shape, rules).unwrap().get()).unwrap()
    }

    #[test]
    fn a_redaction_says_what_it_redacts_in_both_places() {
        let old = pdu(json!({ "redacts": "$t" }), &RoomVersionRules::V10);
        let event = shown(&old, &Unsigned::default(), CLIENT, &RoomVersionRules::V10);
        assert_eq!(event["redacts"], "$t");
        assert_eq!(event["content"], json!({ "reason": "spam", "redacts": "$t" }));
        let new = pdu(json!({ "content": { "redacts": "$t" } }), &RoomVersionRules::V11);
        let event = shown(&new, &Unsigned::default(), CLIENT, &RoomVersionRules::V11);
        assert_eq!(event["redacts"], "$t");
        assert_eq!(event["content"]["redacts"], "$t");
    }

    #[test]
    fn shows_only_what_is_for_clients() {
        let rules = RoomVersionRules::V11;
        let message = pdu(json!({ "type": "x.odd", "state_key": "" }), &rules);
        let unsigned = Unsigned { age: Some(5), ..Unsigned::default() };
        assert_eq!(
            shown(&message, &unsigned, Shape::Client { room_id: true }, &rules),
            json!({
                "type": "x.odd", "state_key": "", "content": { "reason": "spam" },
                "event_id": message.event_id, "origin_server_ts": 7, "room_id": "!r:x.org",
                "sender": "@a:x.org", "unsigned": { "age": 5 },
            })
        );
        let stripped: Value = serde_json::from_str(to_stripped(&message).unwrap().get()).unwrap();
        assert_eq!(
            stripped,
            json!({ "type": "x.odd", "state_key": "", "content": { "reason": "spam" }, "sender": "@a:x.org" })
        );
        let read: Value = serde_json::from_str(to_rules(&message).unwrap().get()).unwrap();
        assert_eq!(
            read,
            json!({
                "type": "x.odd", "state_key": "", "content": { "reason": "spam" },
                "event_id": message.event_id, "origin_server_ts": 7, "room_id": "!r:x.org",
                "sender": "@a:x.org",
            })
        );
        let federation = shown(&message, &unsigned, Shape::Federation, &rules);
        assert_eq!(federation["hashes"], json!({ "sha256": "h" }));
        assert_eq!(federation["unsigned"], json!({ "age": 5 }));
    }

    #[test]
    fn a_create_event_always_names_its_room() {
        let rules = RoomVersionRules::V12;
        let create = json!({
            "type": "m.room.create", "state_key": "", "sender": "@a:x.org", "content": {},
            "prev_events": [], "auth_events": [], "depth": 1, "origin_server_ts": 7,
            "hashes": { "sha256": "h" }, "signatures": {},
        });
        let create = Pdu::from_json(&create.to_string(), &rules).unwrap();
        let event = shown(&create, &Unsigned::default(), CLIENT, &rules);
        assert_eq!(event["room_id"], create.room_id.as_str());
    }
}
