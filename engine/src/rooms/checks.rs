//! The checks on receipt of a PDU, in the order of the specification. Pure.
//!
//! 1. Format: [`Pdu::from_json`], else it is dropped.
//! 2. Signatures and 3. hash: [`check_integrity`]; dropped, or redacted.
//! 4. Auth events, 5. state before the event, 6. current state: [`check_authorisation`]; rejected,
//!    rejected, or soft-failed.
//!
//! <https://spec.matrix.org/v1.19/server-server-api/#checks-performed-on-receipt-of-a-pdu>

use std::sync::Arc;

use ruma::{EventId, events::StateEventType, room_version_rules::RoomVersionRules};

use super::authorize::{self, Denied};
use crate::events::{
    Pdu, hashes,
    redact::{self, RedactError},
    verify::{self, ServerKeys, SignatureError},
};

/// Why an event is dropped after its format was right.
#[derive(Debug, thiserror::Error)]
pub enum Dropped {
    /// Its signatures are not sufficient; with [`SignatureError::KeysMissing`] try again with keys.
    #[error(transparent)]
    Signature(#[from] SignatureError),
    /// Its hash is wrong and it cannot be redacted.
    #[error(transparent)]
    Redaction(#[from] RedactError),
}

/// Checks signatures and content hash. An event with a wrong hash comes back redacted.
///
/// # Errors
///
/// See [`Dropped`].
pub fn check_integrity(
    pdu: Pdu,
    keys: &ServerKeys,
    rules: &RoomVersionRules,
) -> Result<Pdu, Dropped> {
    verify::verify(&pdu, keys, rules)?;
    if hashes::content_hash_matches(&pdu, rules) {
        return Ok(pdu);
    }
    Ok(redact::redact(&pdu, rules)?)
}

/// What becomes of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is part of the room.
    Accepted,
    /// It is kept and takes part in state resolution, but is not shown, nor built upon.
    SoftFailed(Denied),
    /// It is kept so that others can be judged by it, and takes part in nothing.
    Rejected(Denied),
    /// It cannot be judged before this event is there.
    Missing(ruma::OwnedEventId),
}

/// Judges an event by its auth events, by the state before it and by the current state.
///
/// The two states must know the keys of [`authorize::state_keys`].
pub fn check_authorisation(
    pdu: &Pdu,
    rules: &RoomVersionRules,
    fetch: impl Fn(&EventId) -> Option<Arc<Pdu>>,
    state_before: impl Fn(&StateEventType, &str) -> Option<Arc<Pdu>>,
    current_state: impl Fn(&StateEventType, &str) -> Option<Arc<Pdu>>,
) -> Verdict {
    match check_auth_events(pdu, rules, &fetch) {
        Err(Denied::Missing(event_id)) => return Verdict::Missing(event_id),
        Err(denied) => return Verdict::Rejected(denied),
        Ok(()) => {}
    }
    let create = || current_state(&StateEventType::RoomCreate, "");
    let of_the_room = authorize::check_only_create(pdu, create);
    if let Err(denied) = of_the_room.and_then(|()| authorize::check_state(pdu, rules, state_before))
    {
        return Verdict::Rejected(denied);
    }
    match authorize::check_state(pdu, rules, current_state) {
        Ok(()) => Verdict::Accepted,
        Err(denied) => Verdict::SoftFailed(denied),
    }
}

/// Judges an event by its auth events alone: all that can be said of one outside the timeline.
///
/// # Errors
///
/// Why it is rejected, or [`Denied::Missing`].
pub fn check_auth_events(
    pdu: &Pdu,
    rules: &RoomVersionRules,
    fetch: impl Fn(&EventId) -> Option<Arc<Pdu>>,
) -> Result<(), Denied> {
    authorize::check_event(pdu, rules, &fetch)?;
    let create = authorize::create_event_id(&pdu.room_id, &rules.authorization);
    let auth_events: Vec<Arc<Pdu>> =
        pdu.auth_events.iter().chain(&create).filter_map(|id| fetch(id)).collect();
    authorize::check_state(pdu, rules, |kind, state_key| {
        let same = |event: &&Arc<Pdu>| {
            event.state_key.as_deref() == Some(state_key)
                && StateEventType::from(event.kind.to_string()) == *kind
        };
        auth_events.iter().find(same).cloned()
    })
}

#[cfg(test)]
mod tests {
    use ruma::RoomVersionId;
    use serde_json::json;

    use super::{
        super::testing::{Room, draft, membership},
        *,
    };

    fn judge(room: &Room, pdu: &Pdu, before: &Room) -> Verdict {
        check_authorisation(
            pdu,
            &room.rules,
            |id| room.events.get(id).cloned(),
            |kind, key| before.get(kind, key),
            |kind, key| room.get(kind, key),
        )
    }

    #[test]
    fn each_check_has_its_verdict() {
        let version = RoomVersionId::V11;
        let (mut room, mut before) = (Room::new(&version), Room::new(&version));
        for room in [&mut room, &mut before] {
            room.send(membership("@bob:b.org", "@bob:b.org", "join"));
        }
        let topic = room.make(draft("m.room.topic", "@bob:b.org", "", json!({})));
        let mut message = draft("m.room.message", "@bob:b.org", "", json!({ "body": "x" }));
        message.state_key = None;
        let message = room.make(message);
        assert_eq!(judge(&room, &message, &before), Verdict::Accepted);
        assert!(matches!(judge(&room, &topic, &before), Verdict::Rejected(_)));
        room.send(membership("@alice:a.org", "@bob:b.org", "ban"));
        assert!(matches!(judge(&room, &message, &before), Verdict::SoftFailed(_)));
        assert!(matches!(judge(&room, &message, &room), Verdict::Rejected(_)));
        let lost = message.auth_events[0].clone();
        room.events.remove(&lost);
        assert_eq!(judge(&room, &message, &before), Verdict::Missing(lost));
    }

    #[test]
    fn an_event_with_a_wrong_hash_is_redacted_and_one_without_signature_dropped() {
        use crate::events::{
            Canonical,
            sign::{
                Expectation, Role, sign_event,
                tests::{key_pair, object},
            },
            verify::ServerKey,
        };
        use ruma::{CanonicalJsonValue, MilliSecondsSinceUnixEpoch, UInt, server_name, user_id};

        let rules = RoomVersionRules::V11;
        let event = object(json!({
            "type": "m.room.message", "room_id": "!r:a.org", "sender": "@u:a.org", "depth": 1,
            "content": { "body": "x" }, "prev_events": [], "auth_events": [], "origin_server_ts": 1,
        }));
        let expected = Expectation {
            role: Role::Author,
            origin: server_name!("a.org"),
            kind: "m.room.message",
            room_id: Some(ruma::room_id!("!r:a.org")),
            sender: user_id!("@u:a.org"),
            state_key: None,
            membership: None,
        };
        let pdu = sign_event(&expected, event, &key_pair(1), &rules).unwrap();
        let key = ServerKey {
            public_key: key_pair(1).public_key().to_vec(),
            valid_until_ts: MilliSecondsSinceUnixEpoch(UInt::MAX),
        };
        let keys =
            [(server_name!("a.org").to_owned(), [("ed25519:1".to_owned(), key)].into())].into();
        let intact = check_integrity(pdu.clone(), &keys, &rules).unwrap();
        assert_eq!(intact.content.get(), r#"{"body":"x"}"#);

        let mut changed = Canonical::parse(pdu.json.get(), &rules).unwrap();
        let content = CanonicalJsonValue::Object(object(json!({ "body": "y" })));
        changed.object_mut().insert("content".to_owned(), content);
        let changed = Pdu::from_canonical(changed, &rules).unwrap();
        let redacted = check_integrity(changed, &keys, &rules).unwrap();
        assert_eq!(redacted.content.get(), "{}");
        assert_eq!(redacted.event_id, pdu.event_id);

        let unknown = check_integrity(pdu, &ServerKeys::new(), &rules);
        assert!(matches!(unknown, Err(Dropped::Signature(SignatureError::KeysMissing { .. }))));
    }
}
