//! The one function that signs events.
//!
//! Other servers send us events to complete or to co-sign (`make_join`, `invite`, …) and would
//! gladly get our signature under something else. So the caller says what it means to sign, and
//! anything that differs is refused.
//!
//! <https://spec.matrix.org/v1.19/server-server-api/#signing-events>

use ruma::{
    CanonicalJsonObject, CanonicalJsonValue, RoomId, ServerName, UserId,
    canonical_json::CanonicalJsonObjectExt,
    room_version_rules::RoomVersionRules,
    signatures::{Ed25519KeyPair, KeyPair as _, Signature},
};

use super::{Canonical, Pdu, PduError, hashes, verify};

/// As whom this server signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The sender is a user of ours and the event is new: it is hashed and signed.
    Author,
    /// The target of an invite from another server is a user of ours.
    Invited,
    /// A user of ours lets somebody join a restricted room.
    Authoriser,
}

/// What the caller means to sign. Every field is compared with the event.
#[derive(Clone, Copy, Debug)]
pub struct Expectation<'a> {
    /// As whom we sign.
    pub role: Role,
    /// Our server name, under which the signature stands.
    pub origin: &'a ServerName,
    /// The event type.
    pub kind: &'a str,
    /// The room; `None` for a create event that names its room.
    pub room_id: Option<&'a RoomId>,
    /// The sender.
    pub sender: &'a UserId,
    /// The state key; `None` for an event that is not state.
    pub state_key: Option<&'a str>,
    /// `content.membership` of an `m.room.member` event.
    pub membership: Option<&'a str>,
}

/// Why an event was not signed.
#[derive(Debug, thiserror::Error)]
pub enum SignError {
    /// A field is not what the caller means to sign.
    #[error("will not sign: {field} is {found:?}, expected {expected:?}")]
    Unexpected {
        /// Which field.
        field: &'static str,
        /// What the caller said.
        expected: Option<String>,
        /// What the event says.
        found: Option<String>,
    },
    /// Somebody else's event does not have the content that its sender hashed.
    #[error("will not sign: the content hash does not match")]
    HashMismatch,
    /// The event breaks the format of its room version; it is too large, for example.
    #[error(transparent)]
    Format(#[from] PduError),
}

/// Signs an event that is exactly what was expected, and gives it back ready to be sent.
///
/// An author's event gets its content hash here; hashes, signatures and `unsigned` that it came
/// with are dropped. An event that is co-signed keeps them.
///
/// # Errors
///
/// When the event is not what was expected, or not an event; see [`SignError`].
pub fn sign_event(
    expected: &Expectation<'_>,
    event: impl Into<Canonical>,
    key: &Ed25519KeyPair,
    rules: &RoomVersionRules,
) -> Result<Pdu, SignError> {
    let mut event = event.into();
    check_expected(expected, event.object(), rules)?;
    check_role(expected, event.object())?;
    event.object_mut().remove("unsigned");
    if expected.role == Role::Author {
        event.object_mut().remove("signatures");
        event.object_mut().remove("hashes");
        let hash = hashes::content_hash(&event).map_err(not_an_event)?;
        let hashes = [("sha256".to_owned(), CanonicalJsonValue::from(hash))].into();
        event.object_mut().insert("hashes".to_owned(), CanonicalJsonValue::Object(hashes));
    }

    let text = verify::signed_text(&event, rules).map_err(not_an_event)?;
    let signature = key.sign(text.as_bytes());
    insert_signature(event.object_mut(), expected.origin, &signature).map_err(not_an_event)?;

    let pdu = Pdu::from_canonical(event, rules)?;
    if expected.role != Role::Author && !hashes::content_hash_matches(&pdu, rules) {
        return Err(SignError::HashMismatch);
    }
    Ok(pdu)
}

fn not_an_event(error: impl std::fmt::Display) -> SignError {
    SignError::Format(PduError::NoEventId(error.to_string()))
}

/// Compares the fields that the caller named.
fn check_expected(
    expected: &Expectation<'_>,
    event: &CanonicalJsonObject,
    rules: &RoomVersionRules,
) -> Result<(), SignError> {
    same("type", Some(expected.kind), event.get("type"))?;
    same("room_id", expected.room_id.map(RoomId::as_str), event.get("room_id"))?;
    same("sender", Some(expected.sender.as_str()), event.get("sender"))?;
    same("state_key", expected.state_key, event.get("state_key"))?;
    if expected.kind == "m.room.member" {
        same("membership", expected.membership, content(event, "membership"))?;
    }
    // In room versions 1 and 2 the author also names the event, in its own domain.
    if rules.event_format.require_event_id && expected.role == Role::Author {
        let id = event.get("event_id").and_then(CanonicalJsonValue::as_str);
        let domain = id.and_then(|id| id.split_once(':')).map(|(_, domain)| domain);
        same_str("domain of event_id", Some(expected.origin.as_str()), domain)?;
    }
    Ok(())
}

/// Checks that the role is ours to play: the user in question is one of our server's.
fn check_role(expected: &Expectation<'_>, event: &CanonicalJsonObject) -> Result<(), SignError> {
    let ours = Some(expected.origin.as_str());
    match expected.role {
        Role::Author => {
            same_str("domain of sender", ours, Some(expected.sender.server_name().as_str()))
        }
        Role::Invited => {
            same_str("type", Some("m.room.member"), Some(expected.kind))?;
            same_str("membership", Some("invite"), expected.membership)?;
            same_str("domain of state_key", ours, expected.state_key.and_then(domain))
        }
        Role::Authoriser => {
            same_str("type", Some("m.room.member"), Some(expected.kind))?;
            same_str("membership", Some("join"), expected.membership)?;
            let via = content(event, "join_authorised_via_users_server");
            let via = via.and_then(CanonicalJsonValue::as_str).and_then(domain);
            same_str("domain of join_authorised_via_users_server", ours, via)
        }
    }
}

fn content<'a>(event: &'a CanonicalJsonObject, field: &str) -> Option<&'a CanonicalJsonValue> {
    event.get("content").and_then(CanonicalJsonValue::as_object)?.get(field)
}

fn domain(user_id: &str) -> Option<&str> {
    Some(<&UserId>::try_from(user_id).ok()?.server_name().as_str())
}

/// Compares an expected string with a JSON value, which may be absent but not of another type.
fn same(
    field: &'static str,
    expected: Option<&str>,
    found: Option<&CanonicalJsonValue>,
) -> Result<(), SignError> {
    match found {
        Some(CanonicalJsonValue::String(found)) => same_str(field, expected, Some(found)),
        None => same_str(field, expected, None),
        Some(other) => Err(unexpected(field, expected, Some(&other.to_string()))),
    }
}

fn same_str(
    field: &'static str,
    expected: Option<&str>,
    found: Option<&str>,
) -> Result<(), SignError> {
    if expected == found { Ok(()) } else { Err(unexpected(field, expected, found)) }
}

fn unexpected(field: &'static str, expected: Option<&str>, found: Option<&str>) -> SignError {
    SignError::Unexpected {
        field,
        expected: expected.map(ToOwned::to_owned),
        found: found.map(ToOwned::to_owned),
    }
}

/// The event with a signature that another server made, beside those that it has.
///
/// # Errors
///
/// When it would be no event with it: it is too large, for example.
pub fn add_signature(
    pdu: &Pdu,
    server: &ServerName,
    key_id: &str,
    signature: &str,
    rules: &RoomVersionRules,
) -> Result<Pdu, SignError> {
    let mut event = Canonical::parse(pdu.json.get(), rules).map_err(not_an_event)?;
    insert(event.object_mut(), server, key_id.to_owned(), signature.to_owned())
        .map_err(not_an_event)?;
    let rejected = pdu.rejected;
    Ok(Pdu { rejected, ..Pdu::from_canonical(event, rules)? })
}

fn insert_signature(
    event: &mut CanonicalJsonObject,
    origin: &ServerName,
    signature: &Signature,
) -> Result<(), ruma::canonical_json::CanonicalJsonFieldError> {
    insert(event, origin, signature.id(), signature.base64())
}

fn insert(
    event: &mut CanonicalJsonObject,
    server: &ServerName,
    key_id: String,
    signature: String,
) -> Result<(), ruma::canonical_json::CanonicalJsonFieldError> {
    event
        .get_as_object_or_insert_default("signatures", "signatures")?
        .get_as_object_or_insert_default(server.as_str(), "signatures")?
        .insert(key_id, CanonicalJsonValue::from(signature));
    Ok(())
}

#[cfg(test)]
pub(crate) mod tests {
    use ruma::{
        serde::{Base64, base64::Standard},
        server_name, user_id,
    };
    use serde_json::json;

    use super::*;

    /// A key pair for tests; the same seed gives the same key.
    pub(crate) fn key_pair(seed: u8) -> Ed25519KeyPair {
        key_pair_of(&[seed; 32])
    }

    fn key_pair_of(seed: &[u8]) -> Ed25519KeyPair {
        let mut document =
            vec![0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];
        document.extend(seed);
        Ed25519KeyPair::from_der(&document, "1".to_owned()).unwrap()
    }

    pub(crate) fn object(json: serde_json::Value) -> CanonicalJsonObject {
        serde_json::from_value(json).unwrap()
    }

    fn join() -> serde_json::Value {
        json!({
            "type": "m.room.member", "room_id": "!r:a.org", "sender": "@u:a.org",
            "state_key": "@u:a.org", "content": { "membership": "join" }, "depth": 1,
            "prev_events": [], "auth_events": [], "origin_server_ts": 1,
            "unsigned": { "x": 1 }, "signatures": { "evil.org": {} },
        })
    }

    fn expect_join() -> Expectation<'static> {
        Expectation {
            role: Role::Author,
            origin: server_name!("a.org"),
            kind: "m.room.member",
            room_id: Some(ruma::room_id!("!r:a.org")),
            sender: user_id!("@u:a.org"),
            state_key: Some("@u:a.org"),
            membership: Some("join"),
        }
    }

    #[test]
    fn signs_what_was_expected() {
        let rules = RoomVersionRules::V11;
        let pdu = sign_event(&expect_join(), object(join()), &key_pair(1), &rules).unwrap();
        assert!(hashes::content_hash_matches(&pdu, &rules));
        assert!(pdu.json.get().contains(r#""signatures":{"a.org":{"ed25519:1":""#));
    }

    /// The example of the specification's appendices.
    #[test]
    fn signs_as_the_specification_does() {
        let rules = RoomVersionRules::V6;
        let seed =
            Base64::<Standard, [u8; 32]>::parse("YJDBA9Xnr2sVqXD9Vj7XVUnmFZcZrlw8Md7kMW+3XA1");
        let event = json!({
            "room_id": "!x:domain", "sender": "@a:domain", "origin": "domain", "depth": 3,
            "origin_server_ts": 1_000_000, "signatures": {}, "hashes": {}, "type": "X",
            "content": {}, "prev_events": [], "auth_events": [], "unsigned": { "age_ts": 1_000_000 },
        });
        let expected = Expectation {
            role: Role::Author,
            origin: server_name!("domain"),
            kind: "X",
            room_id: Some(ruma::room_id!("!x:domain")),
            sender: user_id!("@a:domain"),
            state_key: None,
            membership: None,
        };
        let key = key_pair_of(seed.unwrap().as_bytes());
        let pdu = sign_event(&expected, object(event), &key, &rules).unwrap();
        assert!(pdu.json.get().contains(
            "KxwGjPSDEtvnFgU00fwFz+l6d2pJM6XBIaMEn81SXPTRl16AqLAYqfIReFGZlHi5KLjAWbOoMszkwsQma+lYAg"
        ));
    }

    #[test]
    fn refuses_anything_else() {
        let rules = RoomVersionRules::V11;
        for (pointer, value) in [
            ("/type", json!("m.room.power_levels")),
            ("/type", json!(7)),
            ("/room_id", json!("!other:a.org")),
            ("/sender", json!("@admin:a.org")),
            ("/state_key", json!("@admin:a.org")),
            ("/content/membership", json!("ban")),
            ("/content", json!("join")),
        ] {
            let mut event = join();
            *event.pointer_mut(pointer).unwrap() = value.clone();
            let refused = sign_event(&expect_join(), object(event), &key_pair(1), &rules);
            assert!(matches!(refused, Err(SignError::Unexpected { .. })), "{pointer} = {value}");
        }
        let foreign = Expectation { origin: server_name!("b.org"), ..expect_join() };
        let refused = sign_event(&foreign, object(join()), &key_pair(1), &rules);
        assert!(matches!(refused, Err(SignError::Unexpected { field: "domain of sender", .. })));
    }

    #[test]
    fn an_old_event_must_be_named_in_our_domain() {
        let rules = RoomVersionRules::V1;
        let mut event = join();
        event["event_id"] = json!("$e:b.org");
        let refused = sign_event(&expect_join(), object(event.clone()), &key_pair(1), &rules);
        assert!(matches!(refused, Err(SignError::Unexpected { .. })));
        event["event_id"] = json!("$e:a.org");
        let pdu = sign_event(&expect_join(), object(event), &key_pair(1), &rules).unwrap();
        assert_eq!(pdu.event_id, "$e:a.org");
    }

    #[test]
    fn an_invited_server_adds_its_signature() {
        let rules = RoomVersionRules::V11;
        let mut invite = join();
        invite["state_key"] = json!("@v:b.org");
        invite["content"]["membership"] = json!("invite");
        let author = Expectation {
            state_key: Some("@v:b.org"),
            membership: Some("invite"),
            ..expect_join()
        };
        let pdu = sign_event(&author, object(invite), &key_pair(1), &rules).unwrap();
        let invited = Expectation { role: Role::Invited, origin: server_name!("b.org"), ..author };
        let received = Canonical::parse(pdu.json.get(), &rules).unwrap();
        let signed = sign_event(&invited, received.clone(), &key_pair(2), &rules).unwrap();
        assert_eq!(signed.event_id, pdu.event_id);
        assert!(signed.json.get().contains(r#""a.org":{"ed25519:1""#));
        assert!(signed.json.get().contains(r#""b.org":{"ed25519:1""#));

        let mut changed = received;
        let content = object(json!({ "membership": "invite", "x": 1 }));
        changed.object_mut().insert("content".to_owned(), CanonicalJsonValue::Object(content));
        let refused = sign_event(&invited, changed, &key_pair(2), &rules);
        assert!(matches!(refused, Err(SignError::HashMismatch)));
    }
}
