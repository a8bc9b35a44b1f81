//! Content hash and reference hash.
//!
//! `ruma` computes both, but refuses the largest legal event and has no floats: the texts are
//! taken from [`Canonical`], only the hashing is done here.
//!
//! <https://spec.matrix.org/v1.19/server-server-api/#calculating-the-content-hash-for-an-event>
//! <https://spec.matrix.org/v1.19/server-server-api/#calculating-the-reference-hash-for-an-event>

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD},
};
use ruma::{
    CanonicalJsonValue, OwnedEventId,
    room_version_rules::{EventIdFormatVersion, EventsReferenceFormatVersion, RoomVersionRules},
    serde::{Base64, base64::Standard},
};
use sha2::{Digest as _, Sha256};

use super::{Canonical, Pdu};

/// Why a hash could not be computed.
#[derive(Debug, thiserror::Error)]
pub enum HashError {
    /// The event has no `type`, without which it cannot be redacted.
    #[error("the event cannot be redacted: {0}")]
    Untyped(#[from] serde_json::Error),
    /// The hash did not make an event ID, which no hash does.
    #[error("the reference hash is not an event ID: {0}")]
    NotAnId(#[from] ruma::IdParseError),
}

/// The hash over everything but hashes, signatures and `unsigned`, in unpadded base64.
///
/// # Errors
///
/// None in practice: nothing is redacted here.
pub fn content_hash(event: &Canonical) -> Result<String, HashError> {
    let text = event.text_without(None, &["hashes", "signatures", "unsigned"])?;
    Ok(STANDARD_NO_PAD.encode(Sha256::digest(text)))
}

/// Whether the event is as its origin made it. If it is not, it is to be [redacted](super::redact).
#[must_use]
pub fn content_hash_matches(pdu: &Pdu, rules: &RoomVersionRules) -> bool {
    let Ok(event) = Canonical::parse(pdu.json.get(), rules) else { return false };
    let claimed = event
        .object()
        .get("hashes")
        .and_then(CanonicalJsonValue::as_object)
        .and_then(|hashes| hashes.get("sha256"))
        .and_then(CanonicalJsonValue::as_str)
        .and_then(|hash| Base64::<Standard>::parse(hash).ok());
    let actual = content_hash(&event).ok().and_then(|hash| Base64::<Standard>::parse(&hash).ok());
    claimed.is_some() && claimed == actual
}

/// The hash over the redacted event without signatures.
///
/// # Errors
///
/// When the event has no `type`.
pub fn reference_hash(event: &Canonical, rules: &RoomVersionRules) -> Result<[u8; 32], HashError> {
    let text = event.text_without(Some(&rules.redaction), &["signatures", "unsigned"])?;
    Ok(Sha256::digest(text).into())
}

/// The event ID that the reference hash makes, since room version 3.
///
/// # Errors
///
/// When the event has no `type`.
pub fn event_id(event: &Canonical, rules: &RoomVersionRules) -> Result<OwnedEventId, HashError> {
    let hash = reference_hash(event, rules)?;
    let hash = match rules.event_id_format {
        EventIdFormatVersion::V1 | EventIdFormatVersion::V2 => STANDARD_NO_PAD.encode(hash),
        _ => URL_SAFE_NO_PAD.encode(hash),
    };
    Ok(OwnedEventId::try_from(format!("${hash}"))?)
}

/// How a new event names others in `prev_events` and `auth_events`: by ID, in room versions 1 and
/// 2 with the reference hash.
///
/// # Errors
///
/// When one of them is not an event.
pub fn references<'a>(
    events: impl IntoIterator<Item = &'a Pdu>,
    rules: &RoomVersionRules,
) -> Result<CanonicalJsonValue, HashError> {
    let reference = |pdu: &Pdu| -> Result<CanonicalJsonValue, HashError> {
        let id = CanonicalJsonValue::from(pdu.event_id.as_str());
        if rules.events_reference_format != EventsReferenceFormatVersion::V1 {
            return Ok(id);
        }
        let event = Canonical::parse(pdu.json.get(), rules).unwrap_or_default();
        let hash = STANDARD_NO_PAD.encode(reference_hash(&event, rules)?);
        let hashes = [("sha256".to_owned(), CanonicalJsonValue::from(hash))].into();
        Ok(CanonicalJsonValue::Array(vec![id, CanonicalJsonValue::Object(hashes)]))
    };
    let references = events.into_iter().map(reference).collect::<Result<_, _>>()?;
    Ok(CanonicalJsonValue::Array(references))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The examples of the specification's appendices.
    #[test]
    fn known_content_hashes() {
        let minimal = r#"{"room_id":"!x:domain","sender":"@a:domain","origin":"domain",
            "origin_server_ts":1000000,"signatures":{},"hashes":{},"type":"X","content":{},
            "prev_events":[],"auth_events":[],"depth":3,"unsigned":{"age_ts":1000000}}"#;
        let event = Canonical::parse(minimal, &RoomVersionRules::V6).unwrap();
        assert_eq!(content_hash(&event).unwrap(), "5jM4wQpv6lnBo7CLIghJuHdW+s2CMBJPUOGOC89ncos");
        let redactable = r#"{"content":{"body":"Here is the message content"},
            "event_id":"$0:domain","hashes":{},"origin":"domain","origin_server_ts":1000000,
            "signatures":{},"room_id":"!r:domain","sender":"@u:domain","type":"m.room.message",
            "unsigned":{"age_ts":1000000}}"#;
        let event = Canonical::parse(redactable, &RoomVersionRules::V6).unwrap();
        assert_eq!(content_hash(&event).unwrap(), "onLKD1bGljeBWQhWZ1kaP9SorVmRQNdN5aM2JYU2n/g");
    }

    #[test]
    fn agrees_with_ruma_on_ids() {
        let json = r#"{"type":"m.room.member","content":{"membership":"join","x":1},"depth":3,
            "room_id":"!x:domain","sender":"@a:domain","unsigned":{},"signatures":{"x":{}}}"#;
        for rules in [RoomVersionRules::V3, RoomVersionRules::V6, RoomVersionRules::V11] {
            let event = Canonical::parse(json, &rules).unwrap();
            let expected = ruma::signatures::reference_hash(event.object(), &rules).unwrap();
            assert_eq!(event_id(&event, &rules).unwrap().as_str(), format!("${expected}"));
        }
    }
}
