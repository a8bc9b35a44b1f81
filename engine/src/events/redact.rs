//! Redaction: what is left of an event, per room version.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#redactions>

use ruma::{canonical_json::redact_in_place, room_version_rules::RoomVersionRules};
use serde_json::value::RawValue;

use super::{Canonical, Pdu, canonical::CanonicalError};

/// Why an event could not be redacted: each variant means that it is not an event.
#[derive(Debug, thiserror::Error)]
pub enum RedactError {
    /// The event's JSON is not canonical.
    #[error(transparent)]
    NotCanonical(#[from] CanonicalError),
    /// The event has no `type`.
    #[error("the event has no type")]
    Untyped,
    /// The fields that redaction keeps are not those of an event.
    #[error("what is left is not an event: {0}")]
    NotAnEvent(#[from] serde_json::Error),
}

/// The event without what its room version does not protect. Its ID stays the same.
///
/// # Errors
///
/// None for an event that passed the format check.
pub fn redact(pdu: &Pdu, rules: &RoomVersionRules) -> Result<Pdu, RedactError> {
    let mut event = Canonical::parse(pdu.json.get(), rules)?;
    redact_in_place(event.object_mut(), &rules.redaction, None)
        .map_err(|_| RedactError::Untyped)?;
    let json = RawValue::from_string(event.to_text())?;
    Ok(Pdu::from_stored(pdu.event_id.clone(), pdu.room_id.clone(), json, pdu.rejected, rules)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_what_the_room_version_protects() {
        let json = r#"{"type":"m.room.create","state_key":"","room_id":"!r:x.org",
            "sender":"@a:x.org","content":{"creator":"@a:x.org","m.federate":false},"depth":1,
            "origin":"x.org","origin_server_ts":1,"prev_events":[],"auth_events":[],
            "hashes":{"sha256":"h"},"signatures":{},"extra":1}"#;
        let old = Pdu::from_json(json, &RoomVersionRules::V10).unwrap();
        let redacted = redact(&old, &RoomVersionRules::V10).unwrap();
        assert_eq!(redacted.content.get(), r#"{"creator":"@a:x.org"}"#);
        assert!(redacted.json.get().contains(r#""origin":"x.org""#));
        assert!(!redacted.json.get().contains("extra"));
        let again = Pdu::from_json(redacted.json.get(), &RoomVersionRules::V10).unwrap();
        assert_eq!(again.event_id, old.event_id, "redaction does not change the event ID");

        let new = Pdu::from_json(json, &RoomVersionRules::V11).unwrap();
        let redacted = redact(&new, &RoomVersionRules::V11).unwrap();
        assert!(redacted.content.get().contains("m.federate"));
        assert!(!redacted.json.get().contains(r#""origin":"#));
    }
}
