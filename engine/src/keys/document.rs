//! What another server's published keys mean. Pure.
//!
//! <https://spec.matrix.org/v1.19/server-server-api/#retrieving-server-keys>

use std::{collections::BTreeMap, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use ed25519_dalek::VerifyingKey;
use ruma::{
    MilliSecondsSinceUnixEpoch, OwnedServerName, ServerName, SigningKeyAlgorithm, UInt,
    serde::{Base64, base64::Standard},
    signatures::{JsonError, to_canonical_json_string_for_signing, verify_canonical_json_bytes},
};
use serde::Deserialize;

use crate::events::{
    canonical::{CanonicalError, parse_strict},
    verify::ServerKey,
};

/// "Servers MUST use the lesser of this field and 7 days into the future when determining if a key
/// is valid."
const MAX_VALIDITY: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// How many keys, current and old ones, a server may have.
const MAX_KEYS: usize = 64;

/// Why a document is not believed.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    /// It is not canonical JSON.
    #[error(transparent)]
    Json(#[from] CanonicalError),
    /// A field is missing or of the wrong type.
    #[error("malformed: {0}")]
    Malformed(String),
    /// It speaks for another server than the one that was asked.
    #[error("it is of {0}")]
    OtherServer(OwnedServerName),
    /// It has more keys than any server needs.
    #[error("it has {0} keys")]
    TooManyKeys(usize),
    /// None of the keys that should have signed it did.
    #[error("it is not signed")]
    Unsigned,
    /// A signature by one of those keys is wrong.
    #[error("its signature by {0} is wrong")]
    WrongSignature(String),
}

#[derive(Deserialize)]
struct Document {
    server_name: OwnedServerName,
    valid_until_ts: UInt,
    verify_keys: BTreeMap<String, VerifyKey>,
    #[serde(default)]
    old_verify_keys: BTreeMap<String, OldVerifyKey>,
    signatures: BTreeMap<String, BTreeMap<String, String>>,
}

#[derive(Deserialize)]
struct VerifyKey {
    key: String,
}

#[derive(Deserialize)]
struct OldVerifyKey {
    key: String,
    expired_ts: UInt,
}

/// The usable keys of `server` by ID, from the document that it published.
///
/// A current key is valid until the document's end, an old one until it expired; neither later
/// than the specification and our clock allow. Keys of unknown algorithms are left out.
///
/// # Errors
///
/// See [`DocumentError`]; nothing in such a document may be used.
pub fn read_keys(
    json: &str,
    server: &ServerName,
    now_ms: i64,
) -> Result<BTreeMap<String, ServerKey>, DocumentError> {
    let object = parse_strict(json)?;
    let document: Document =
        serde_json::from_str(json).map_err(|error| DocumentError::Malformed(error.to_string()))?;
    if document.server_name != server {
        return Err(DocumentError::OtherServer(document.server_name));
    }
    let count = document.verify_keys.len() + document.old_verify_keys.len();
    if count > MAX_KEYS {
        return Err(DocumentError::TooManyKeys(count));
    }
    let text = to_canonical_json_string_for_signing(&object)
        .map_err(|error: JsonError| DocumentError::Malformed(error.to_string()))?;
    check_signatures(&document, &text)?;
    Ok(usable_keys(document, now_ms))
}

/// Which keys a server claims to have signed a document with.
///
/// # Errors
///
/// When it is not a signed document.
pub fn signing_key_ids(json: &str, signer: &ServerName) -> Result<Vec<String>, DocumentError> {
    let mut signed: Signed =
        serde_json::from_str(json).map_err(|error| DocumentError::Malformed(error.to_string()))?;
    let signatures = signed.signatures.remove(signer.as_str()).unwrap_or_default();
    Ok(signatures.into_keys().take(MAX_KEYS).collect())
}

/// Checks that a notary signed the document with one of `keys` that is valid now.
///
/// # Errors
///
/// When it did not.
pub fn check_notary(
    json: &str,
    notary: &ServerName,
    keys: &BTreeMap<String, ServerKey>,
    now_ms: i64,
) -> Result<(), DocumentError> {
    let text = to_canonical_json_string_for_signing(&parse_strict(json)?)
        .map_err(|error: JsonError| DocumentError::Malformed(error.to_string()))?;
    let signed: Signed =
        serde_json::from_str(json).map_err(|error| DocumentError::Malformed(error.to_string()))?;
    let valid = |key: &&ServerKey| i64::from(key.valid_until_ts.get()) >= now_ms;
    check(&signed.signatures, notary, &text, |key_id| {
        keys.get(key_id).filter(valid).map(|key| key.public_key.clone())
    })
}

#[derive(Deserialize)]
struct Signed {
    signatures: BTreeMap<String, BTreeMap<String, String>>,
}

fn check_signatures(document: &Document, text: &str) -> Result<(), DocumentError> {
    check(&document.signatures, &document.server_name, text, |key_id| {
        document.verify_keys.get(key_id).and_then(|key| public_key(key_id, &key.key))
    })
}

/// Every signature of `signer` by a key that `key_of` knows must be right, and there must be one.
fn check(
    signatures: &BTreeMap<String, BTreeMap<String, String>>,
    signer: &ServerName,
    text: &str,
    key_of: impl Fn(&str) -> Option<Vec<u8>>,
) -> Result<(), DocumentError> {
    let mut verified = false;
    for (key_id, signature) in signatures.get(signer.as_str()).into_iter().flatten() {
        let Some(key) = key_of(key_id) else { continue };
        let wrong = || DocumentError::WrongSignature(key_id.clone());
        let signature = Base64::<Standard>::parse(signature).map_err(|_| wrong())?;
        verify_canonical_json_bytes(
            &SigningKeyAlgorithm::Ed25519,
            &key,
            signature.as_bytes(),
            text.as_bytes(),
        )
        .map_err(|_| wrong())?;
        verified = true;
    }
    if verified { Ok(()) } else { Err(DocumentError::Unsigned) }
}

fn usable_keys(document: Document, now_ms: i64) -> BTreeMap<String, ServerKey> {
    let now = UInt::new_saturating(u64::try_from(now_ms).unwrap_or(0));
    let week = UInt::new_saturating(u64::try_from(MAX_VALIDITY.as_millis()).unwrap_or(u64::MAX));
    let valid_until = document.valid_until_ts.min(now.saturating_add(week));
    // The current keys come last: a key that is listed as both is current.
    let old = document
        .old_verify_keys
        .into_iter()
        .map(|(key_id, old)| (key_id, old.key, old.expired_ts.min(now)));
    let current =
        document.verify_keys.into_iter().map(|(key_id, key)| (key_id, key.key, valid_until));
    old.chain(current)
        .filter_map(|(key_id, key, until)| {
            let public_key = public_key(&key_id, &key)?;
            let valid_until_ts = MilliSecondsSinceUnixEpoch(until);
            Some((key_id, ServerKey { public_key, valid_until_ts }))
        })
        .collect()
}

/// Keys whose private halves everybody can work out. CVE-2026-24044: a tool that set servers up drew them
/// from a generator that begins with the same number each time.
const PUBLIC_SECRETS: [&str; 1] = ["l/O9hxMVKB6Lg+3Hqf0FQQZhVESQcMzbPN1Cz2nM3og"];

/// The bytes of an ed25519 key.
///
/// `None` when it is none, one whose private half is known to everybody, or one of the few points of
/// small order, of which everybody knows signatures that are right for any text.
pub(crate) fn public_key(key_id: &str, key: &str) -> Option<Vec<u8>> {
    let version = key_id.strip_prefix("ed25519:")?;
    if version.is_empty() || key_id.len() > 255 {
        return None;
    }
    let key = Base64::<Standard>::parse(key).ok()?.into_inner();
    let point = VerifyingKey::try_from(key.as_slice()).ok()?;
    let is_known = PUBLIC_SECRETS.contains(&STANDARD_NO_PAD.encode(&key).as_str());
    (!point.is_weak() && !is_known).then_some(key)
}

#[cfg(test)]
mod tests {
    use ruma::{
        CanonicalJsonObject, server_name,
        signatures::{Ed25519KeyPair, sign_json},
    };
    use serde_json::{Value, json};

    use super::*;
    use crate::keys::testing::{encoded, pair};

    const DAY: i64 = 24 * 60 * 60 * 1000;
    const NOW: i64 = 1_790_000_000_000;

    fn signed(document: Value, keys: &[Ed25519KeyPair]) -> String {
        let mut object: CanonicalJsonObject = serde_json::from_value(document).unwrap();
        for key in keys {
            sign_json("a.example", key, &mut object).unwrap();
        }
        serde_json::to_string(&object).unwrap()
    }

    fn document() -> Value {
        json!({
            "server_name": "a.example",
            "valid_until_ts": NOW + DAY,
            "verify_keys": {
                "ed25519:1": { "key": encoded(1) },
                "ed25519:2": { "key": encoded(2) },
                "future:1": { "key": "AAAA" },
            },
            "old_verify_keys": {
                "ed25519:2": { "key": encoded(9), "expired_ts": 5 },
                "ed25519:3": { "key": encoded(3), "expired_ts": 5 },
                "ed25519:4": { "key": encoded(4), "expired_ts": NOW + DAY },
            },
        })
    }

    fn read(json: &str) -> Result<BTreeMap<String, ServerKey>, DocumentError> {
        read_keys(json, server_name!("a.example"), NOW)
    }

    fn edited(edit: impl FnOnce(&mut Value)) -> Value {
        let mut document = document();
        edit(&mut document);
        document
    }

    #[test]
    fn keys_are_valid_as_long_as_their_kind_allows() {
        let keys = read(&signed(document(), &[pair(1, "1")])).unwrap();
        let until: Vec<_> = keys
            .iter()
            .map(|(id, key)| (id.as_str(), i64::from(key.valid_until_ts.get())))
            .collect();
        let expected = [
            ("ed25519:1", NOW + DAY),
            ("ed25519:2", NOW + DAY),
            ("ed25519:3", 5),
            ("ed25519:4", NOW),
        ];
        assert_eq!(until, expected);
        assert_eq!(keys["ed25519:2"].public_key, pair(2, "2").public_key());
    }

    #[test]
    fn no_key_is_valid_for_more_than_a_week() {
        let far = edited(|document| document["valid_until_ts"] = (NOW + 365 * DAY).into());
        let keys = read(&signed(far, &[pair(1, "1")])).unwrap();
        assert_eq!(i64::from(keys["ed25519:1"].valid_until_ts.get()), NOW + 7 * DAY);
    }

    #[test]
    fn one_of_the_current_keys_must_have_signed() {
        assert!(matches!(read(&document().to_string()), Err(DocumentError::Malformed(_))));
        // An old key, an unknown one.
        for (seed, version) in [(3, "3"), (7, "7")] {
            let refused = read(&signed(document(), &[pair(seed, version)]));
            assert!(matches!(refused, Err(DocumentError::Unsigned)), "{refused:?}");
        }
        let second = signed(document(), &[pair(7, "7"), pair(2, "2")]);
        assert!(read(&second).is_ok());
    }

    #[test]
    fn a_wrong_signature_spoils_the_document() {
        let forged = signed(document(), &[pair(1, "1"), pair(7, "2")]);
        assert!(
            matches!(read(&forged), Err(DocumentError::WrongSignature(id)) if id == "ed25519:2")
        );
        let changed =
            signed(document(), &[pair(1, "1")]).replace("\"expired_ts\":5", "\"expired_ts\":6");
        assert!(matches!(read(&changed), Err(DocumentError::WrongSignature(_))));
    }

    #[test]
    fn keys_by_which_anybody_can_sign_are_none() {
        // The neutral element, and -1: both of small order. The last is no point at all.
        let neutral = [&[1][..], &[0; 31]].concat();
        let minus_one = [&[0xec][..], &[0xff; 30], &[0x7f]].concat();
        for bytes in [neutral, minus_one, vec![0; 32], [&[2][..], &[0; 31]].concat()] {
            let key = Base64::<Standard>::new(bytes).encode();
            assert_eq!(public_key("ed25519:1", &key), None, "{key}");
        }
        for spelling in [
            "l/O9hxMVKB6Lg+3Hqf0FQQZhVESQcMzbPN1Cz2nM3og",
            "l/O9hxMVKB6Lg+3Hqf0FQQZhVESQcMzbPN1Cz2nM3og=",
        ] {
            assert_eq!(public_key("ed25519:1", spelling), None, "{spelling}");
        }
        assert!(public_key("ed25519:1", &encoded(1)).is_some());
    }

    #[test]
    fn a_document_of_another_server_is_refused() {
        let other = edited(|document| document["server_name"] = "b.example".into());
        let refused = read(&signed(other, &[pair(1, "1")]));
        assert!(matches!(refused, Err(DocumentError::OtherServer(_))), "{refused:?}");
    }

    #[test]
    fn odd_documents_are_refused() {
        assert!(matches!(read("{"), Err(DocumentError::Json(_))));
        assert!(matches!(read("[]"), Err(DocumentError::Json(_))));
        for (field, value) in [
            ("valid_until_ts", json!(-1)),
            ("valid_until_ts", json!("1")),
            ("verify_keys", json!([])),
            ("old_verify_keys", json!({ "ed25519:1": {} })),
            ("server_name", json!("")),
        ] {
            let odd = edited(|document| document[field] = value);
            let refused = read(&signed(odd, &[pair(1, "1")]));
            assert!(matches!(refused, Err(DocumentError::Malformed(_))), "{field}: {refused:?}");
        }
        let many = edited(|document| {
            for version in 100..200 {
                document["verify_keys"][format!("ed25519:{version}")] =
                    json!({ "key": encoded(1) });
            }
        });
        assert!(matches!(read(&signed(many, &[pair(1, "1")])), Err(DocumentError::TooManyKeys(_))));
    }
}
