//! The document in which this server publishes its keys.
//!
//! <https://spec.matrix.org/v1.19/server-server-api/#publishing-keys>

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use ruma::{
    CanonicalJsonObject, CanonicalJsonValue, Int,
    signatures::{JsonError, sign_json},
};

use super::signing::key_id;
use crate::Engine;

/// How long others may rely on the document. A key that must be withdrawn stays good for them
/// this long, and they ask again this often.
const VALIDITY: Duration = Duration::from_secs(24 * 60 * 60);

/// The document, signed with every active key.
///
/// # Errors
///
/// None that can happen: the document is made here and is valid JSON.
pub fn key_document(engine: &Engine) -> Result<CanonicalJsonObject, JsonError> {
    let server_name = &engine.config.server_name;
    let keys = &engine.signing_keys;
    let validity = i64::try_from(VALIDITY.as_millis()).unwrap_or(i64::MAX);
    let valid_until = engine.clock.now_ms().saturating_add(validity);
    let active = keys.active().map(|key| {
        let public_key = STANDARD_NO_PAD.encode(key.public_key());
        (key_id(key), object([("key", public_key.into())]))
    });
    let old = keys.old().iter().map(|key| {
        let expired_ts = Int::new_saturating(key.expired_ts).into();
        let fields = [("key", key.public_key.clone().into()), ("expired_ts", expired_ts)];
        (key.key_id.clone(), object(fields))
    });
    let mut document = CanonicalJsonObject::from([
        ("server_name".to_owned(), server_name.as_str().into()),
        ("valid_until_ts".to_owned(), Int::new_saturating(valid_until).into()),
        ("verify_keys".to_owned(), CanonicalJsonValue::Object(active.collect())),
        ("old_verify_keys".to_owned(), CanonicalJsonValue::Object(old.collect())),
    ]);
    for key in keys.active() {
        sign_json(server_name.as_str(), key, &mut document)?;
    }
    Ok(document)
}

fn object<const N: usize>(fields: [(&str, CanonicalJsonValue); N]) -> CanonicalJsonValue {
    CanonicalJsonValue::Object(fields.map(|(name, value)| (name.to_owned(), value)).into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::{
        document::read_keys,
        testing::{encoded, setup, write_key},
    };

    #[tokio::test]
    async fn another_server_reads_the_document_as_meant() {
        let (setup, _) = setup(async |storage| {
            write_key(storage, "ed25519:a", 1, 10, None).await;
            write_key(storage, "ed25519:b", 2, 20, None).await;
            write_key(storage, "ed25519:c", 3, 30, Some(40)).await;
        })
        .await;
        let document = key_document(&setup.engine).unwrap();
        assert_eq!(document["verify_keys"].as_object().unwrap().len(), 2);
        let json = serde_json::to_string(&document).unwrap();
        let server = &setup.engine.config.server_name;
        let now = setup.engine.clock.now_ms();
        let keys = read_keys(&json, server, now).unwrap();
        let until = |id: &str| i64::from(keys[id].valid_until_ts.get());
        assert_eq!(until("ed25519:a"), now + 24 * 60 * 60 * 1000);
        assert_eq!(until("ed25519:b"), now + 24 * 60 * 60 * 1000);
        assert_eq!(until("ed25519:c"), 40);
        assert_eq!(STANDARD_NO_PAD.encode(&keys["ed25519:c"].public_key), encoded(3));
        assert_eq!(document["signatures"].as_object().unwrap().len(), 1);
    }

    #[tokio::test]
    async fn every_active_key_signs() {
        let (setup, _) = setup(async |storage| {
            write_key(storage, "ed25519:a", 1, 10, None).await;
            write_key(storage, "ed25519:b", 2, 20, None).await;
        })
        .await;
        let document = key_document(&setup.engine).unwrap();
        let signatures = document["signatures"].as_object().unwrap();
        let signers = signatures[setup.engine.config.server_name.as_str()].as_object().unwrap();
        assert_eq!(signers.keys().collect::<Vec<_>>(), ["ed25519:a", "ed25519:b"]);
    }
}
