//! Events that a peer makes or receives: hashed, signed and named by the rules of a room version.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD},
};
use ruma::{
    CanonicalJsonObject, CanonicalJsonValue, RoomVersionId,
    canonical_json::redact,
    room_version_rules::{EventIdFormatVersion, RoomVersionRules},
    serde::Base64,
    signatures::{Verified, verify_event},
};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::{
    json::{canonical_object, render_object},
    key::Key,
};
use crate::random;

/// An event with its id, as it is sent to other servers.
#[derive(Clone, Debug)]
pub struct Event {
    /// The event id.
    pub id: String,
    /// The PDU; raw text is still marked in it.
    pub pdu: Value,
    /// The hash under which other events refer to it, in unpadded base64.
    pub reference_hash: String,
}

impl Event {
    /// Hashes and signs a draft as `server` and finds its id.
    ///
    /// What the draft has already is left alone: `hashes` (a wrong hash, then), and `event_id` in
    /// room versions 1 and 2. `unsigned` is kept outside of what is hashed and signed.
    pub fn seal(version: &str, draft: &Value, server: &str, key: &Key) -> Result<Self> {
        let rules = rules(version)?;
        let mut object = canonical_object(draft)?;
        let unsigned = object.remove("unsigned");
        object.remove("signatures");
        if names_itself(&rules) && !object.contains_key("event_id") {
            let id = format!("${}:{server}", random::suffix()?);
            object.insert("event_id".to_owned(), CanonicalJsonValue::String(id));
        }
        if !object.contains_key("hashes") {
            let hash = hash(&object);
            object.insert("hashes".to_owned(), canonical_object(&hashes(&hash))?.into());
        }
        let signature = key.sign(&render_object(&essence(&object, &rules)));
        let signatures = serde_json::json!({ server: { &key.id: signature } });
        object.insert("signatures".to_owned(), canonical_object(&signatures)?.into());
        if let Some(unsigned) = unsigned {
            object.insert("unsigned".to_owned(), unsigned);
        }
        Self::identify(&rules, object)
    }

    /// An event that another server made.
    pub fn received(version: &str, pdu: &Value) -> Result<Self> {
        Self::identify(&rules(version)?, canonical_object(pdu)?)
    }

    /// What `key` signs of this event, as `seal` does.
    pub fn signature(&self, version: &str, key: &Key) -> Result<String> {
        let mut object = canonical_object(&self.pdu)?;
        object.remove("signatures");
        object.remove("unsigned");
        Ok(key.sign(&render_object(&essence(&object, &rules(version)?))))
    }

    /// The same event with something changed after it was hashed and signed; the id stays.
    pub fn tampered(&self, change: impl FnOnce(&mut Value)) -> Self {
        let mut changed = self.clone();
        change(&mut changed.pdu);
        changed
    }

    /// The signature of `server` on this event, with one bit of it turned over.
    pub fn with_broken_signature(&self, server: &str) -> Self {
        self.tampered(|pdu| {
            let Some(signatures) = pdu["signatures"][server].as_object_mut() else { return };
            for signature in signatures.values_mut() {
                let text = signature.as_str().unwrap_or_default();
                let mut bytes = STANDARD_NO_PAD.decode(text).unwrap_or_default();
                if let Some(byte) = bytes.first_mut() {
                    *byte ^= 1;
                }
                *signature = STANDARD_NO_PAD.encode(bytes).into();
            }
        })
    }

    /// The event type.
    pub fn kind(&self) -> &str {
        self.pdu["type"].as_str().unwrap_or_default()
    }

    /// The state key of a state event.
    pub fn state_key(&self) -> Option<&str> {
        self.pdu["state_key"].as_str()
    }

    fn identify(rules: &RoomVersionRules, object: CanonicalJsonObject) -> Result<Self> {
        let digest = Sha256::digest(render_object(&essence(&object, rules)));
        let id = match rules.event_id_format {
            EventIdFormatVersion::V1 => match object.get("event_id") {
                Some(CanonicalJsonValue::String(id)) => id.clone(),
                _ => String::new(),
            },
            EventIdFormatVersion::V2 => format!("${}", STANDARD_NO_PAD.encode(digest)),
            _ => format!("${}", URL_SAFE_NO_PAD.encode(digest)),
        };
        let pdu = serde_json::to_value(&object)?;
        Ok(Self { id, pdu, reference_hash: STANDARD_NO_PAD.encode(digest) })
    }
}

/// Fails unless an event bears the signatures that it needs, by keys of these documents, and the hash
/// of its content.
pub(crate) fn verify(version: &str, pdu: &Value, documents: &[Value]) -> Result<()> {
    let mut keys = BTreeMap::new();
    for document in documents {
        let server = document["server_name"].as_str().context("no server name")?;
        let mut public = BTreeMap::new();
        for (id, key) in document["verify_keys"].as_object().context("no keys")? {
            public.insert(id.clone(), Base64::parse(key["key"].as_str().context("no key")?)?);
        }
        keys.insert(server.to_owned(), public);
    }
    let verified = verify_event(&keys, &canonical_object(pdu)?, &rules(version)?)?;
    ensure!(verified == Verified::All, "the hash is wrong: {pdu}");
    Ok(())
}

/// The rules of a room version.
pub(super) fn rules(version: &str) -> Result<RoomVersionRules> {
    let id = RoomVersionId::try_from(version)?;
    id.rules().with_context(|| format!("unknown room version {version}"))
}

/// Whether events carry their own id, as in room versions 1 and 2.
pub(super) fn names_itself(rules: &RoomVersionRules) -> bool {
    rules.event_id_format == EventIdFormatVersion::V1
}

/// The hash of the whole content. <https://spec.matrix.org/v1.19/server-server-api/#calculating-the-content-hash-for-an-event>
fn hash(object: &CanonicalJsonObject) -> String {
    let mut hashed = object.clone();
    for key in ["unsigned", "signatures", "hashes"] {
        hashed.remove(key);
    }
    STANDARD_NO_PAD.encode(Sha256::digest(render_object(&hashed)))
}

fn hashes(hash: &str) -> Value {
    serde_json::json!({ "sha256": hash })
}

/// What is signed, and what the id is made of: the redacted event without signatures. An event that
/// is too odd to be redacted (no type, say) loses its content.
fn essence(object: &CanonicalJsonObject, rules: &RoomVersionRules) -> CanonicalJsonObject {
    let mut essence = redact(object.clone(), &rules.redaction, None).unwrap_or_else(|_| {
        let mut stripped = object.clone();
        stripped.insert("content".to_owned(), CanonicalJsonObject::new().into());
        stripped
    });
    for key in ["unsigned", "signatures", "age_ts"] {
        essence.remove(key);
    }
    essence
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const VERSIONS: [&str; 12] = ["1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12"];

    fn draft() -> Value {
        json!({
            "type": "m.room.message",
            "sender": "@mallory:evil.test",
            "room_id": "!room:evil.test",
            "content": { "body": "hello", "msgtype": "m.text" },
            "depth": 3,
            "origin": "evil.test",
            "origin_server_ts": 1_700_000_000_000_i64,
            "prev_events": [],
            "auth_events": [],
            "unsigned": { "age": 5 },
        })
    }

    #[test]
    fn another_implementation_verifies_what_is_sealed() {
        let key = Key::new().unwrap();
        let documents = [key.document("evil.test", 0).unwrap()];
        for version in VERSIONS {
            let event = Event::seal(version, &draft(), "evil.test", &key).unwrap();
            verify(version, &event.pdu, &documents).unwrap();
            let object = canonical_object(&event.pdu).unwrap();
            let hash = ruma::signatures::reference_hash(&object, &rules(version).unwrap()).unwrap();
            match version {
                "1" | "2" => assert!(event.id.ends_with(":evil.test")),
                _ => assert_eq!(event.id, format!("${hash}"), "{version}"),
            }
        }
    }

    #[test]
    fn what_was_tampered_with_is_not_verified() {
        let key = Key::new().unwrap();
        let documents = [key.document("evil.test", 0).unwrap()];
        let event = Event::seal("12", &draft(), "evil.test", &key).unwrap();
        let broken = event.with_broken_signature("evil.test");
        assert_eq!(event.id, broken.id);
        verify("12", &broken.pdu, &documents).unwrap_err();
        let changed = event.tampered(|pdu| pdu["content"]["body"] = "goodbye".into());
        verify("12", &changed.pdu, &documents).unwrap_err();
    }
}
