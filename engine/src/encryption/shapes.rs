//! What keys have to look like. Pure.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#key-algorithms>

use ruma::{
    CanonicalJsonObject, CanonicalJsonValue, DeviceId, UserId,
    serde::{Base64, base64::Standard},
    signatures::{to_canonical_json_string_for_signing, verify_canonical_json_bytes},
};

use crate::{events::canonical::parse_strict, keys::document::public_key};

/// How many bytes the keys of a device, or a key by which a user signs, may have with all signatures.
pub const LARGEST_KEYS: usize = 48 * 1024;
/// How many bytes a one-time key may have.
pub const LARGEST_ONE_TIME_KEY: usize = 4 * 1024;
/// How many bytes a name may have.
pub const LONGEST_NAME: usize = 255;
/// How many algorithms or keys a device may have.
const MOST_ENTRIES: usize = 64;

/// Why something is no key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ShapeError {
    /// It is not of the form that the specification gives it.
    #[error("{0}")]
    Malformed(String),
    /// It says that it is of another user or another device.
    #[error("the keys are of another user or device")]
    NotYours,
    /// It is larger than it may be.
    #[error("the keys are too large")]
    TooLarge,
}

fn malformed<T>(reason: &str) -> Result<T, ShapeError> {
    Err(ShapeError::Malformed(reason.to_owned()))
}

/// Reads an object that is signed: canonical JSON, without what is not part of it.
///
/// # Errors
///
/// [`ShapeError`].
pub fn read(json: &str) -> Result<CanonicalJsonObject, ShapeError> {
    if json.len() > LARGEST_KEYS {
        return Err(ShapeError::TooLarge);
    }
    let mut object =
        parse_strict(json).map_err(|error| ShapeError::Malformed(error.to_string()))?;
    object.remove("unsigned");
    Ok(object)
}

/// The text of an object.
#[must_use]
pub fn text(object: &CanonicalJsonObject) -> String {
    CanonicalJsonValue::Object(object.clone()).to_string()
}

/// Reads the identity keys of a device.
///
/// # Errors
///
/// [`ShapeError`].
pub fn device_keys(
    json: &str,
    user: &UserId,
    device: &DeviceId,
) -> Result<CanonicalJsonObject, ShapeError> {
    let object = read(json)?;
    match (string(&object, "user_id"), string(&object, "device_id")) {
        (Some(user_id), Some(device_id)) => {
            if user_id != user.as_str() || device_id != device.as_str() {
                return Err(ShapeError::NotYours);
            }
        }
        _ => return malformed("`user_id` and `device_id` are strings"),
    }
    let Some(CanonicalJsonValue::Array(algorithms)) = object.get("algorithms") else {
        return malformed("`algorithms` is a list");
    };
    if algorithms.len() > MOST_ENTRIES || !algorithms.iter().all(is_name) {
        return malformed("`algorithms` is a list of a few names");
    }
    let Some(CanonicalJsonValue::Object(keys)) = object.get("keys") else {
        return malformed("`keys` is an object");
    };
    if keys.len() > MOST_ENTRIES
        || !keys.iter().all(|(name, key)| is_key_name(name) && is_name(key))
    {
        return malformed("`keys` has a few keys, each under its algorithm and its name");
    }
    match object.get("signatures") {
        Some(signatures) if are_signatures(signatures) => Ok(object),
        _ => malformed("`signatures` is an object of objects of strings"),
    }
}

/// Reads a one-time key, and gives back its canonical text.
///
/// # Errors
///
/// [`ShapeError`].
pub fn one_time_key(json: &str, is_fallback: bool) -> Result<String, ShapeError> {
    if json.len() > LARGEST_ONE_TIME_KEY {
        return Err(ShapeError::TooLarge);
    }
    if let Ok(key) = serde_json::from_str::<String>(json) {
        return Ok(serde_json::Value::from(key).to_string());
    }
    let object = parse_strict(json).map_err(|error| ShapeError::Malformed(error.to_string()))?;
    if string(&object, "key").is_none() {
        return malformed("a one-time key has a `key`");
    }
    if !object.get("signatures").is_none_or(are_signatures) {
        return malformed("`signatures` is an object of objects of strings");
    }
    let says_fallback = object.get("fallback") == Some(&CanonicalJsonValue::Bool(true));
    if is_fallback && !says_fallback {
        return malformed("a signed fallback key says `fallback`: true");
    }
    Ok(text(&object))
}

/// The algorithm and the name of a key such as `signed_curve25519:AAAAHg`.
///
/// # Errors
///
/// [`ShapeError`].
pub fn split(name: &str) -> Result<(&str, &str), ShapeError> {
    match name.split_once(':') {
        Some((algorithm, key_id))
            if !algorithm.is_empty() && !key_id.is_empty() && name.len() <= LONGEST_NAME =>
        {
            Ok((algorithm, key_id))
        }
        _ => malformed("a key is named by its algorithm, a colon and its name"),
    }
}

/// Reads a key by which a user signs, of that usage; gives it back with the public key, in base64 and
/// as bytes.
///
/// # Errors
///
/// [`ShapeError`].
pub fn signing_key(json: &str, user: &UserId, usage: &str) -> Result<SigningKey, ShapeError> {
    let object = read(json)?;
    if string(&object, "user_id") != Some(user.as_str()) {
        return Err(ShapeError::NotYours);
    }
    let Some(CanonicalJsonValue::Array(usages)) = object.get("usage") else {
        return malformed("`usage` is a list");
    };
    if usages.len() > MOST_ENTRIES || !usages.iter().any(|it| it.as_str() == Some(usage)) {
        return malformed("`usage` does not say what the key is for");
    }
    if !object.get("signatures").is_none_or(are_signatures) {
        return malformed("`signatures` is an object of objects of strings");
    }
    let (public, bytes) = only_key(&object)?;
    Ok(SigningKey { public, bytes, object })
}

/// A key by which a user signs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SigningKey {
    /// The public key in base64, which is the key's name too.
    pub public: String,
    /// The public key.
    pub bytes: Vec<u8>,
    /// The key as it is published.
    pub object: CanonicalJsonObject,
}

fn only_key(object: &CanonicalJsonObject) -> Result<(String, Vec<u8>), ShapeError> {
    let Some(CanonicalJsonValue::Object(keys)) = object.get("keys") else {
        return malformed("`keys` is an object");
    };
    let mut keys = keys.iter();
    let (Some((name, key)), None) = (keys.next(), keys.next()) else {
        return malformed("`keys` has one key");
    };
    let Some(public) = key.as_str().filter(|key| name.strip_prefix("ed25519:") == Some(*key))
    else {
        return malformed("the key is named by itself");
    };
    let Some(bytes) = public_key(name, public) else {
        return malformed("the key is no Ed25519 key");
    };
    Ok((public.to_owned(), bytes))
}

/// A string of an object.
#[must_use]
pub fn string<'a>(object: &'a CanonicalJsonObject, field: &str) -> Option<&'a str> {
    object.get(field)?.as_str()
}

/// The signatures of a user in an object, by the names of the keys.
pub fn signatures_of<'a>(
    object: &'a CanonicalJsonObject,
    user: &str,
) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
    let signatures = object.get("signatures").and_then(CanonicalJsonValue::as_object);
    let of_user = signatures.and_then(|signatures| signatures.get(user)?.as_object());
    let named = of_user.into_iter().flatten();
    named.filter_map(|(name, signature)| Some((name.as_str(), signature.as_str()?)))
}

/// Adds a signature of a user to an object.
pub fn add_signature(object: &mut CanonicalJsonObject, user: &str, name: &str, signature: &str) {
    let empty = || CanonicalJsonValue::Object(CanonicalJsonObject::new());
    let signatures = object.entry("signatures".to_owned()).or_insert_with(empty);
    let CanonicalJsonValue::Object(signatures) = signatures else { return };
    let of_user = signatures.entry(user.to_owned()).or_insert_with(empty);
    if let CanonicalJsonValue::Object(of_user) = of_user {
        of_user.insert(name.to_owned(), CanonicalJsonValue::String(signature.to_owned()));
    }
}

/// Whether two objects are the same but for their signatures.
#[must_use]
pub fn is_same(a: &CanonicalJsonObject, b: &CanonicalJsonObject) -> bool {
    let content = |object: &CanonicalJsonObject| {
        let mut object = object.clone();
        object.remove("signatures");
        object.remove("unsigned");
        object
    };
    content(a) == content(b)
}

/// Whether a key made this signature of an object.
#[must_use]
pub fn is_signed(object: &CanonicalJsonObject, key: &[u8], signature: &str) -> bool {
    let Ok(text) = to_canonical_json_string_for_signing(object) else { return false };
    let Ok(signature) = Base64::<Standard>::parse(signature) else { return false };
    let algorithm = ruma::SigningKeyAlgorithm::Ed25519;
    verify_canonical_json_bytes(&algorithm, key, signature.as_bytes(), text.as_bytes()).is_ok()
}

fn is_name(value: &CanonicalJsonValue) -> bool {
    value.as_str().is_some_and(|name| !name.is_empty() && name.len() <= 4 * LONGEST_NAME)
}

fn is_key_name(name: &str) -> bool {
    split(name).is_ok()
}

fn are_signatures(value: &CanonicalJsonValue) -> bool {
    let strings = |of_user: &CanonicalJsonValue| {
        of_user.as_object().is_some_and(|it| it.values().all(|value| value.as_str().is_some()))
    };
    value.as_object().is_some_and(|signatures| signatures.values().all(strings))
}

#[cfg(test)]
mod tests {
    use ruma::{device_id, user_id};
    use serde_json::{Value, json};

    use super::*;

    fn device(change: impl Fn(&mut Value)) -> Result<CanonicalJsonObject, ShapeError> {
        let mut keys = json!({
            "user_id": "@alice:test",
            "device_id": "DEVICE",
            "algorithms": ["m.olm.v1.curve25519-aes-sha2"],
            "keys": { "ed25519:DEVICE": "a+b" },
            "signatures": { "@alice:test": { "ed25519:DEVICE": "c" } },
            "unsigned": { "device_display_name": "a lie" },
        });
        change(&mut keys);
        device_keys(&keys.to_string(), user_id!("@alice:test"), device_id!("DEVICE"))
    }

    #[test]
    fn keys_of_a_device_have_a_form() {
        let object = device(|_| {}).unwrap();
        assert!(!object.contains_key("unsigned"), "the server says what is unsigned");
        for field in ["user_id", "device_id", "algorithms", "keys", "signatures"] {
            let wrong = device(|keys| drop(keys.as_object_mut().unwrap().remove(field)));
            assert!(matches!(wrong, Err(ShapeError::Malformed(_))), "{field}");
            let wrong = device(|keys| keys[field] = json!(7));
            assert!(matches!(wrong, Err(ShapeError::Malformed(_))), "{field}");
        }
        for (field, value) in [("user_id", "@bob:test"), ("device_id", "OTHER")] {
            assert_eq!(device(|keys| keys[field] = json!(value)), Err(ShapeError::NotYours));
        }
        let wrong = [
            ("keys", json!({ "ed25519": "a" })),
            ("keys", json!({ "ed25519:DEVICE": 1 })),
            ("signatures", json!({ "@alice:test": "a" })),
            ("signatures", json!({ "@alice:test": { "ed25519:DEVICE": 1 } })),
            ("algorithms", json!([1])),
            ("more", json!(1.5)),
        ];
        for (field, value) in wrong {
            let read = device(|keys| keys[field] = value.clone());
            assert!(matches!(read, Err(ShapeError::Malformed(_))), "{field}: {value}");
        }
        let large = device(|keys| keys["more"] = json!("x".repeat(LARGEST_KEYS)));
        assert_eq!(large, Err(ShapeError::TooLarge));
    }

    #[test]
    fn one_time_keys_are_strings_or_signed() {
        assert_eq!(one_time_key("\"abc\"", false).unwrap(), "\"abc\"");
        assert_eq!(one_time_key("{\"key\" : \"abc\"}", false).unwrap(), "{\"key\":\"abc\"}");
        one_time_key("{\"key\":\"abc\"}", true).unwrap_err();
        one_time_key("{\"fallback\":true,\"key\":\"abc\"}", true).unwrap();
        for wrong in ["1", "null", "[]", "{}", "{\"key\":1}", "{\"key\":\"a\",\"signatures\":1}"] {
            one_time_key(wrong, false).unwrap_err();
        }
        let large = format!("\"{}\"", "x".repeat(LARGEST_ONE_TIME_KEY));
        assert_eq!(one_time_key(&large, false), Err(ShapeError::TooLarge));
        assert_eq!(split("signed_curve25519:AAAAHg").unwrap(), ("signed_curve25519", "AAAAHg"));
        for wrong in ["", "a", "a:", ":a", &format!("a:{}", "x".repeat(255))] {
            split(wrong).unwrap_err();
        }
    }
}
