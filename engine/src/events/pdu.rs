//! A persistent data unit: an event as it is signed, stored and relayed.

use ruma::{
    EventId, MilliSecondsSinceUnixEpoch, OwnedEventId, OwnedRoomId, OwnedUserId, RoomId, UserId,
    events::{StateEventType, TimelineEventType},
    room_version_rules::{EventsReferenceFormatVersion, RoomVersionRules},
};
use serde::{Deserialize, de::IgnoredAny};
use serde_json::{Value, value::RawValue};

/// An event of a room, with the fields that the engine reads beside the JSON that peers get.
///
/// Immutable: shared as `Arc<Pdu>` and cached by identity.
#[derive(Clone, Debug)]
pub struct Pdu {
    /// From the reference hash since room version 3, from the JSON in 1 and 2.
    pub event_id: OwnedEventId,
    /// Since room version 12 the create event's JSON has none; here it is always filled.
    pub room_id: OwnedRoomId,
    /// Who sent the event.
    pub sender: OwnedUserId,
    /// When the origin says it was made.
    pub origin_server_ts: MilliSecondsSinceUnixEpoch,
    /// The event type.
    pub kind: TimelineEventType,
    /// Present on state events.
    pub state_key: Option<String>,
    /// The content, canonical.
    pub content: Box<RawValue>,
    /// The events before this one.
    pub prev_events: Vec<OwnedEventId>,
    /// The events that authorise this one.
    pub auth_events: Vec<OwnedEventId>,
    /// The event's depth in the graph, between 0 and 2^53−1.
    pub depth: i64,
    /// What a redaction redacts, wherever the room version keeps it.
    pub redacts: Option<OwnedEventId>,
    /// Whether the event failed an authorisation check when it was received.
    pub rejected: bool,
    /// The content as the authorisation rules read it, where that differs: before room version 6
    /// power levels may be floats, which count as integers cut off at the point.
    pub(crate) levels: Option<Box<RawValue>>,
    /// The whole PDU as it is relayed to other servers: canonical JSON without `unsigned`.
    pub json: Box<RawValue>,
}

/// The fields of a PDU's JSON as they are read into a [`Pdu`].
#[derive(Deserialize)]
struct Fields<'a> {
    sender: OwnedUserId,
    origin_server_ts: MilliSecondsSinceUnixEpoch,
    #[serde(rename = "type")]
    kind: TimelineEventType,
    state_key: Option<String>,
    #[serde(borrow)]
    content: &'a RawValue,
    #[serde(borrow)]
    prev_events: &'a RawValue,
    #[serde(borrow)]
    auth_events: &'a RawValue,
    depth: i64,
    #[serde(borrow)]
    redacts: Option<&'a RawValue>,
}

impl Pdu {
    /// Reads an event from our own database: trusting, without any check of format or hashes.
    ///
    /// # Errors
    ///
    /// When the JSON is not what this server stored.
    pub fn from_stored(
        event_id: OwnedEventId,
        room_id: OwnedRoomId,
        json: Box<RawValue>,
        rejected: bool,
        rules: &RoomVersionRules,
    ) -> Result<Self, serde_json::Error> {
        let fields: Fields<'_> = serde_json::from_str(json.get())?;
        let has_floats = !rules.authorization.strict_canonical_json
            && fields.kind == TimelineEventType::RoomPowerLevels;
        let levels = has_floats.then(|| without_floats(fields.content));
        Ok(Self {
            event_id,
            room_id,
            sender: fields.sender,
            origin_server_ts: fields.origin_server_ts,
            redacts: redacts(&fields.kind, fields.redacts, fields.content, rules),
            kind: fields.kind,
            state_key: fields.state_key,
            content: fields.content.to_owned(),
            prev_events: references(fields.prev_events, rules)?,
            auth_events: references(fields.auth_events, rules)?,
            depth: fields.depth,
            rejected,
            levels: levels.and_then(|levels| levels.ok()),
            json,
        })
    }

    /// The place of a state event in the room's state.
    #[must_use]
    pub fn key(&self) -> Option<(StateEventType, String)> {
        Some((self.kind.to_string().into(), self.state_key.clone()?))
    }

    /// Whether the room's ID is this event's ID, as since room version 12.
    #[must_use]
    pub fn names_its_room(&self) -> bool {
        self.kind == TimelineEventType::RoomCreate
            && self.room_id.strip_sigil() == self.event_id.as_str().trim_start_matches('$')
    }

    /// A string at the top of the content.
    #[must_use]
    pub fn content_str(&self, field: &str) -> Option<String> {
        content_str(&self.content, field)
    }
}

/// A string at the top of a content.
#[must_use]
pub fn content_str(content: &RawValue, field: &str) -> Option<String> {
    let content: std::collections::BTreeMap<String, &RawValue> =
        serde_json::from_str(content.get()).ok()?;
    serde_json::from_str(content.get(field)?.get()).ok()
}

/// Reads `prev_events` or `auth_events`: pairs of ID and hash in room versions 1 and 2.
fn references(
    json: &RawValue,
    rules: &RoomVersionRules,
) -> Result<Vec<OwnedEventId>, serde_json::Error> {
    if rules.events_reference_format == EventsReferenceFormatVersion::V1 {
        let pairs: Vec<(OwnedEventId, IgnoredAny)> = serde_json::from_str(json.get())?;
        return Ok(pairs.into_iter().map(|(id, _)| id).collect());
    }
    serde_json::from_str(json.get())
}

/// The content with floats cut off at the point. One that is no integer then either stays, and the
/// rules reject it.
fn without_floats(content: &RawValue) -> Result<Box<RawValue>, serde_json::Error> {
    let mut content: Value = serde_json::from_str(content.get())?;
    cut_off(&mut content);
    serde_json::value::to_raw_value(&content)
}

fn cut_off(value: &mut Value) {
    match value {
        Value::Object(object) => object.values_mut().for_each(cut_off),
        Value::Number(number) => {
            let float = number.as_f64().filter(|_| number.is_f64()).map(f64::trunc);
            // Integers of this size are exact in both types.
            let in_range = float.filter(|float| float.abs() < (1_u64 << 53) as f64);
            if let Some(float) = in_range {
                *value = Value::from(float as i64);
            }
        }
        _ => {}
    }
}

/// What a redaction redacts: in `content` since room version 11, beside it before. A malformed
/// value redacts nothing, but does not spoil the event.
fn redacts(
    kind: &TimelineEventType,
    top_level: Option<&RawValue>,
    content: &RawValue,
    rules: &RoomVersionRules,
) -> Option<OwnedEventId> {
    #[derive(Deserialize)]
    struct Content<'a> {
        #[serde(borrow)]
        redacts: Option<&'a RawValue>,
    }

    if *kind != TimelineEventType::RoomRedaction {
        return None;
    }
    let value = if rules.redaction.content_field_redacts {
        serde_json::from_str::<Content<'_>>(content.get()).ok()?.redacts
    } else {
        top_level
    };
    serde_json::from_str(value?.get()).ok()
}

impl ruma::state_res::Event for Pdu {
    type Id = OwnedEventId;

    fn event_id(&self) -> &OwnedEventId {
        &self.event_id
    }

    /// As the JSON has it: a create event that names its room carries none.
    fn room_id(&self) -> Option<&RoomId> {
        (!self.names_its_room()).then_some(&*self.room_id)
    }

    fn sender(&self) -> &UserId {
        &self.sender
    }

    fn origin_server_ts(&self) -> MilliSecondsSinceUnixEpoch {
        self.origin_server_ts
    }

    fn event_type(&self) -> &TimelineEventType {
        &self.kind
    }

    fn content(&self) -> &RawValue {
        self.levels.as_deref().unwrap_or(&self.content)
    }

    fn state_key(&self) -> Option<&str> {
        self.state_key.as_deref()
    }

    fn prev_events(&self) -> Box<dyn DoubleEndedIterator<Item = &OwnedEventId> + '_> {
        Box::new(self.prev_events.iter())
    }

    fn auth_events(&self) -> Box<dyn DoubleEndedIterator<Item = &OwnedEventId> + '_> {
        Box::new(self.auth_events.iter())
    }

    fn redacts(&self) -> Option<&OwnedEventId> {
        self.redacts.as_ref()
    }

    fn rejected(&self) -> bool {
        self.rejected
    }
}

impl AsRef<EventId> for Pdu {
    fn as_ref(&self) -> &EventId {
        &self.event_id
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `ruma` maps several names of some types to one variant when the feature of a proposal is
    /// on. Two keys of a room's state would then be one, so such a feature must not be enabled.
    #[test]
    fn event_types_are_not_aliased() {
        for name in [
            "m.room.language",
            "m.room.retention",
            "m.room.presence_sharing",
            "m.beacon_info",
            "m.call.member",
            "m.member_hints",
            "m.beacon",
            "m.message",
            "m.call.notify",
            "m.rtc.notification",
            "m.rtc.decline",
            "m.space.child",
            "m.room.server_acl",
        ] {
            assert_eq!(TimelineEventType::from(name).to_string(), name);
            assert_eq!(StateEventType::from(name).to_string(), name);
        }
    }
}
