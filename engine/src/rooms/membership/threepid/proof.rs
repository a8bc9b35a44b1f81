//! The proof that an address belongs to a user: a text that an identity server signed. Pure.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#mroommember>

use base64::{
    Engine as _,
    alphabet::{STANDARD, URL_SAFE},
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use ruma::{
    CanonicalJsonObject, CanonicalJsonValue, OwnedUserId, SigningKeyAlgorithm,
    signatures::verify_canonical_json_bytes,
};
use serde_json::{Map, Value};

/// Who may accept which invite, with signatures.
#[derive(Clone, Debug, PartialEq)]
pub struct Proof {
    /// The user.
    pub mxid: OwnedUserId,
    /// The token of the invite.
    pub token: String,
    /// All of it, as it was signed.
    pub signed: Map<String, Value>,
}

/// A key by which an invite may be accepted, and where to ask whether it is still valid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Key {
    pub(super) public_key: String,
    pub(super) validity_url: Option<String>,
}

impl Proof {
    /// Reads a proof; `None` when it is none.
    #[must_use]
    pub fn read(signed: Value) -> Option<Self> {
        let Value::Object(signed) = signed else { return None };
        let text = |field: &str| signed.get(field).and_then(Value::as_str);
        let mxid = text("mxid")?.try_into().ok()?;
        let token = text("token").filter(|token| token.len() <= 255)?.to_owned();
        signed.get("signatures")?.as_object()?;
        Some(Self { mxid, token, signed })
    }

    /// The key of an invite by which this is signed.
    pub(super) fn key(&self, invite: &Map<String, Value>) -> Option<Key> {
        let text = self.text()?;
        keys(invite).into_iter().find(|key| self.is_signed_by(key, &text))
    }

    /// What the signatures are over.
    fn text(&self) -> Option<String> {
        let mut signed = self.signed.clone();
        signed.remove("signatures");
        signed.remove("unsigned");
        let signed: CanonicalJsonObject = serde_json::from_value(Value::Object(signed)).ok()?;
        serde_json::to_string(&CanonicalJsonValue::Object(signed)).ok()
    }

    fn is_signed_by(&self, key: &Key, text: &str) -> bool {
        let Some(public_key) = decode(&key.public_key) else { return false };
        let servers = self.signed.get("signatures").and_then(Value::as_object);
        let signatures = servers.into_iter().flat_map(Map::values).filter_map(Value::as_object);
        signatures.flatten().any(|(key_id, signature)| {
            let signature = signature.as_str().and_then(decode);
            key_id.starts_with("ed25519:")
                && signature.is_some_and(|signature| is_right(&public_key, &signature, text))
        })
    }
}

fn is_right(key: &[u8], signature: &[u8], text: &str) -> bool {
    let algorithm = SigningKeyAlgorithm::Ed25519;
    verify_canonical_json_bytes(&algorithm, key, signature, text.as_bytes()).is_ok()
}

/// The keys of an invite.
fn keys(invite: &Map<String, Value>) -> Vec<Key> {
    let key = |object: &Map<String, Value>| {
        let text = |field: &str| object.get(field).and_then(Value::as_str).map(ToOwned::to_owned);
        Some(Key { public_key: text("public_key")?, validity_url: text("key_validity_url") })
    };
    let more = invite.get("public_keys").and_then(Value::as_array).into_iter().flatten();
    let more = more.filter_map(Value::as_object);
    // Those of the list first: what stands beside it is a copy for old servers.
    more.chain([invite]).filter_map(key).collect()
}

/// "The key is encoded using Unpadded Base64, using the standard or URL-safe alphabets."
fn decode(text: &str) -> Option<Vec<u8>> {
    let config = GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent);
    [STANDARD, URL_SAFE]
        .iter()
        .find_map(|alphabet| GeneralPurpose::new(alphabet, config).decode(text).ok())
}

/// Whether a text is a public key.
pub(super) fn is_key(text: &str) -> bool {
    text.len() <= 64 && decode(text).is_some_and(|key| key.len() == 32)
}

#[cfg(test)]
mod tests {
    use base64::prelude::{BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE_NO_PAD};
    use ed25519_dalek::{Signer as _, SigningKey};
    use serde_json::json;

    use super::*;

    fn signed(key: &SigningKey, mxid: &str) -> Value {
        let text = format!(r#"{{"mxid":"{mxid}","sender":"@a:x.org","token":"t"}}"#);
        let signature = BASE64_STANDARD_NO_PAD.encode(key.sign(text.as_bytes()).to_bytes());
        let signatures = json!({ "id.org": { "ed25519:0": signature } });
        json!({ "mxid": mxid, "token": "t", "sender": "@a:x.org", "signatures": signatures })
    }

    #[test]
    fn the_key_that_signed_is_found() {
        let (ours, theirs) = (SigningKey::from_bytes(&[7; 32]), SigningKey::from_bytes(&[8; 32]));
        let public = |key: &SigningKey| BASE64_URL_SAFE_NO_PAD.encode(key.verifying_key());
        let invite = json!({
            "display_name": "b...", "public_key": public(&theirs), "key_validity_url": "https://a",
            "public_keys": [
                { "public_key": public(&theirs), "key_validity_url": "https://a" },
                { "public_key": public(&ours) },
                { "public_key": "nonsense" }, 5,
            ],
        });
        let invite = invite.as_object().unwrap();
        let proof = Proof::read(signed(&ours, "@b:x.org")).unwrap();
        let key = Key { public_key: public(&ours), validity_url: None };
        assert_eq!(proof.key(invite), Some(key));
        let mut forged = signed(&ours, "@b:x.org");
        forged["mxid"] = json!("@c:x.org");
        assert_eq!(Proof::read(forged).unwrap().key(invite), None);
        let other = SigningKey::from_bytes(&[9; 32]);
        assert_eq!(Proof::read(signed(&other, "@b:x.org")).unwrap().key(invite), None);
        assert!(is_key(&public(&ours)) && !is_key("AAAA"));
    }

    #[test]
    fn what_is_no_proof_is_not_read() {
        for value in [
            json!(null),
            json!({}),
            json!({ "mxid": "b", "token": "t", "signatures": {} }),
            json!({ "mxid": "@b:x.org", "signatures": {} }),
            json!({ "mxid": "@b:x.org", "token": "t", "signatures": [] }),
        ] {
            assert_eq!(Proof::read(value.clone()), None, "{value}");
        }
    }
}
