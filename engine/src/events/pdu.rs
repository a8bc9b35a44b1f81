//! A persistent data unit: an event as it is signed, stored and relayed.

use ruma::{
    EventId, MilliSecondsSinceUnixEpoch, OwnedEventId, OwnedRoomId, OwnedUserId, RoomId, UserId,
    events::TimelineEventType,
};
use serde_json::value::RawValue;

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
    /// The whole PDU as it is relayed to other servers: canonical JSON without `unsigned`.
    pub json: Box<RawValue>,
}

impl ruma::state_res::Event for Pdu {
    type Id = OwnedEventId;

    fn event_id(&self) -> &OwnedEventId {
        &self.event_id
    }

    fn room_id(&self) -> Option<&RoomId> {
        Some(&self.room_id)
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
        &self.content
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
