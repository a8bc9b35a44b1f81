//! Checking the signatures of received events.
//!
//! <https://spec.matrix.org/v1.19/server-server-api/#validating-hashes-and-signatures-on-received-events>

use std::collections::{BTreeMap, BTreeSet};

use ruma::{
    CanonicalJsonObject, CanonicalJsonValue, MilliSecondsSinceUnixEpoch, OwnedServerName,
    ServerName, SigningKeyAlgorithm,
    room_version_rules::RoomVersionRules,
    serde::{Base64, base64::Standard},
    signatures::{required_server_signatures_to_verify_event, verify_canonical_json_bytes},
};

use super::{Canonical, Pdu};

/// The ID of the key by which policy servers sign.
pub const POLICY_KEY_ID: &str = "ed25519:policy_server";

/// A key of another server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerKey {
    /// The raw public key.
    pub public_key: Vec<u8>,
    /// Until when events may be signed with it: `valid_until_ts` (at most seven days after it was
    /// fetched), or `expired_ts` of an old key.
    pub valid_until_ts: MilliSecondsSinceUnixEpoch,
}

/// The known keys of some servers, by key ID (`ed25519:…`).
pub type ServerKeys = BTreeMap<OwnedServerName, BTreeMap<String, ServerKey>>;

/// Why the signatures of an event are not sufficient.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum SignatureError {
    /// Who has to sign cannot be told: drop the event.
    #[error("malformed: {0}")]
    Malformed(String),
    /// A server that must sign did not: drop the event.
    #[error("not signed by {0}")]
    Unsigned(OwnedServerName),
    /// A signature by a known key is wrong: drop the event.
    #[error("signature of {server} by {key_id} is wrong")]
    Wrong {
        /// Who is said to have signed.
        server: OwnedServerName,
        /// By which key.
        key_id: String,
    },
    /// None of the keys is known and valid at the time of the event: fetch them, else drop it.
    #[error("no usable key of {server} among {key_ids:?}")]
    KeysMissing {
        /// Whose keys.
        server: OwnedServerName,
        /// The keys by which it signed.
        key_ids: Vec<String>,
    },
}

/// The text over which an event is signed: redacted, without signatures.
pub(super) fn signed_text(
    event: &Canonical,
    rules: &RoomVersionRules,
) -> Result<String, serde_json::Error> {
    event.text_without(Some(&rules.redaction), &["signatures", "unsigned"])
}

/// The servers that must have signed the event: the sender's (not for an invite by a third party),
/// in room versions 1 and 2 the one that named the event, and the one that lets a user join.
///
/// # Errors
///
/// [`SignatureError::Malformed`] when a field that names one of them is no such name.
pub fn required_servers(
    pdu: &Pdu,
    rules: &RoomVersionRules,
) -> Result<BTreeSet<OwnedServerName>, SignatureError> {
    let event = parse(pdu, rules)?;
    required(event.object(), rules)
}

/// For each server that must sign: the IDs of the keys by which it did.
///
/// # Errors
///
/// [`SignatureError::Malformed`] or [`SignatureError::Unsigned`].
pub fn signing_keys(
    pdu: &Pdu,
    rules: &RoomVersionRules,
) -> Result<BTreeMap<OwnedServerName, Vec<String>>, SignatureError> {
    let event = parse(pdu, rules)?;
    let mut keys = BTreeMap::new();
    for server in required(event.object(), rules)? {
        let ids = signatures(event.object(), &server)?.keys();
        // No server publishes the key by which it signs as a policy server.
        let ids = ids.filter(|id| *id != POLICY_KEY_ID).cloned().collect();
        keys.insert(server, ids);
    }
    Ok(keys)
}

/// Checks that every server that must sign did, by a known key that was valid then.
///
/// Signatures by unknown or expired keys, or of other algorithms, are skipped; of the others of a
/// server all must be right, and there must be one.
///
/// # Errors
///
/// See [`SignatureError`].
pub fn verify(
    pdu: &Pdu,
    keys: &ServerKeys,
    rules: &RoomVersionRules,
) -> Result<(), SignatureError> {
    let event = parse(pdu, rules)?;
    let text =
        signed_text(&event, rules).map_err(|error| SignatureError::Malformed(error.to_string()))?;
    for server in required(event.object(), rules)? {
        let signatures = signatures(event.object(), &server)?;
        verify_server(pdu, &server, signatures, keys.get(&server), &text, rules)?;
    }
    Ok(())
}

/// Whether an event has a right signature by one key of a server, which is given with the key's ID and the
/// raw public key.
#[must_use]
pub fn is_signed_by(
    pdu: &Pdu,
    (server, key_id, public_key): (&ServerName, &str, &[u8]),
    rules: &RoomVersionRules,
) -> bool {
    let Ok(event) = parse(pdu, rules) else { return false };
    let Ok(text) = signed_text(&event, rules) else { return false };
    let Ok(signatures) = signatures(event.object(), server) else { return false };
    signatures.get(key_id).is_some_and(|it| is_right_by(it, public_key, &text))
}

fn verify_server(
    pdu: &Pdu,
    server: &ServerName,
    signatures: &CanonicalJsonObject,
    keys: Option<&BTreeMap<String, ServerKey>>,
    text: &str,
    rules: &RoomVersionRules,
) -> Result<(), SignatureError> {
    let usable =
        |key: &ServerKey| !rules.enforce_key_validity || key.valid_until_ts >= pdu.origin_server_ts;
    let mut verified = false;
    for (key_id, signature) in signatures {
        let key = keys.and_then(|keys| keys.get(key_id)).filter(|key| usable(key));
        let Some(key) = key.filter(|_| key_id.starts_with("ed25519:")) else { continue };
        if !is_right(signature, key, text) {
            let key_id = key_id.clone();
            return Err(SignatureError::Wrong { server: server.to_owned(), key_id });
        }
        verified = true;
    }
    if verified {
        return Ok(());
    }
    let key_ids = signatures.keys().cloned().collect();
    Err(SignatureError::KeysMissing { server: server.to_owned(), key_ids })
}

fn is_right(signature: &CanonicalJsonValue, key: &ServerKey, text: &str) -> bool {
    is_right_by(signature, &key.public_key, text)
}

fn is_right_by(signature: &CanonicalJsonValue, public_key: &[u8], text: &str) -> bool {
    let Some(signature) = signature.as_str() else { return false };
    let Ok(signature) = Base64::<Standard>::parse(signature) else { return false };
    let algorithm = SigningKeyAlgorithm::Ed25519;
    verify_canonical_json_bytes(&algorithm, public_key, signature.as_bytes(), text.as_bytes())
        .is_ok()
}

fn parse(pdu: &Pdu, rules: &RoomVersionRules) -> Result<Canonical, SignatureError> {
    Canonical::parse(pdu.json.get(), rules)
        .map_err(|error| SignatureError::Malformed(error.to_string()))
}

fn required(
    event: &CanonicalJsonObject,
    rules: &RoomVersionRules,
) -> Result<BTreeSet<OwnedServerName>, SignatureError> {
    // `ruma` looks at `join_authorised_via_users_server` in every event; only in memberships does
    // it mean something, and in others it must not make us ask for a signature.
    let mut event = event.clone();
    if event.get("type").and_then(CanonicalJsonValue::as_str) != Some("m.room.member") {
        event.remove("content");
    }
    required_server_signatures_to_verify_event(&event, &rules.signatures)
        .map_err(|error| SignatureError::Malformed(error.to_string()))
}

fn signatures<'a>(
    event: &'a CanonicalJsonObject,
    server: &ServerName,
) -> Result<&'a CanonicalJsonObject, SignatureError> {
    event
        .get("signatures")
        .and_then(CanonicalJsonValue::as_object)
        .and_then(|servers| servers.get(server.as_str()))
        .and_then(CanonicalJsonValue::as_object)
        .filter(|signatures| !signatures.is_empty())
        .ok_or_else(|| SignatureError::Unsigned(server.to_owned()))
}

#[cfg(test)]
mod tests {
    use ruma::{UInt, room_id, server_name, user_id};
    use serde_json::json;

    use super::*;
    use crate::events::sign::{
        Expectation, Role, sign_event,
        tests::{key_pair, object},
    };

    fn message(rules: &RoomVersionRules) -> Pdu {
        let event = json!({
            "type": "m.room.message", "room_id": "!r:a.org", "sender": "@u:a.org",
            "content": { "body": "x", "join_authorised_via_users_server": "nobody" },
            "depth": 1, "prev_events": [], "auth_events": [], "origin_server_ts": 1000,
        });
        let expected = Expectation {
            role: Role::Author,
            origin: server_name!("a.org"),
            kind: "m.room.message",
            room_id: Some(room_id!("!r:a.org")),
            sender: user_id!("@u:a.org"),
            state_key: None,
            membership: None,
        };
        sign_event(&expected, object(event), &key_pair(1), rules).unwrap()
    }

    fn keys(seed: u8, valid_until: u32) -> ServerKeys {
        let key = ServerKey {
            public_key: key_pair(seed).public_key().to_vec(),
            valid_until_ts: MilliSecondsSinceUnixEpoch(UInt::from(valid_until)),
        };
        [(server_name!("a.org").to_owned(), [("ed25519:1".to_owned(), key)].into())].into()
    }

    #[test]
    fn accepts_a_right_signature_also_after_redaction() {
        let rules = RoomVersionRules::V11;
        let pdu = message(&rules);
        assert_eq!(verify(&pdu, &keys(1, 1000), &rules), Ok(()));
        let redacted = crate::events::redact::redact(&pdu, &rules).unwrap();
        assert_eq!(verify(&redacted, &keys(1, 1000), &rules), Ok(()));
        assert_eq!(signing_keys(&pdu, &rules).unwrap().len(), 1);
    }

    #[test]
    fn refuses_wrong_and_missing_signatures() {
        let rules = RoomVersionRules::V11;
        let pdu = message(&rules);
        assert!(matches!(verify(&pdu, &keys(2, 1000), &rules), Err(SignatureError::Wrong { .. })));
        let stranger = json!({ "b.org": { "ed25519:1": "AAAA" } });
        let mut event = Canonical::parse(pdu.json.get(), &rules).unwrap();
        let stranger = CanonicalJsonValue::Object(object(stranger));
        event.object_mut().insert("signatures".to_owned(), stranger);
        let pdu = Pdu::from_canonical(event, &rules).unwrap();
        assert_eq!(
            verify(&pdu, &keys(1, 1000), &rules),
            Err(SignatureError::Unsigned(server_name!("a.org").to_owned()))
        );
    }

    #[test]
    fn expired_keys_are_skipped_since_version_5() {
        let expired = keys(1, 999);
        let new = RoomVersionRules::V5;
        let refused = verify(&message(&new), &expired, &new);
        assert!(matches!(refused, Err(SignatureError::KeysMissing { .. })));
        let old = RoomVersionRules::V4;
        assert_eq!(verify(&message(&old), &expired, &old), Ok(()));
        let unknown = verify(&message(&old), &ServerKeys::new(), &old);
        assert!(matches!(unknown, Err(SignatureError::KeysMissing { .. })));
    }
}
