//! Keys of devices and users.

mod changes;
mod claim;
mod device_signing;
mod query;
mod signatures;
mod signing;
mod upload;

use serde_json::{Map, Value, json};
use starling_conformance::client::User;

/// Identity keys of a user's device that look like keys.
pub(crate) fn device_keys(user: &User, seed: &str) -> Value {
    let name = |algorithm: &str| format!("{algorithm}:{}", user.device);
    json!({
        "user_id": user.id,
        "device_id": user.device,
        "algorithms": ["m.olm.v1.curve25519-aes-sha2", "m.megolm.v1.aes-sha2"],
        "keys": { name("ed25519"): seed, name("curve25519"): seed },
        "signatures": { &user.id: { name("ed25519"): "c2lnbmF0dXJl" } },
    })
}

/// One-time keys of these names.
pub(crate) fn one_time_keys(names: &[&str]) -> Value {
    let key = |name: &&str| {
        let value = json!({ "key": format!("key of {name}"), "signatures": {} });
        (format!("signed_curve25519:{name}"), value)
    };
    Value::Object(names.iter().map(key).collect::<Map<_, _>>())
}

/// A fallback key of this name.
pub(crate) fn fallback_key(name: &str) -> Value {
    let value = json!({ "key": format!("key of {name}"), "fallback": true, "signatures": {} });
    json!({ format!("signed_curve25519:{name}"): value })
}

/// Publishes keys and gives back the answer.
pub(crate) async fn upload(user: &User, body: Value) -> Value {
    user.api.post("/_matrix/client/v3/keys/upload", body).await.unwrap().ok().unwrap()
}

/// Asks for all devices of somebody.
pub(crate) async fn query(asking: &User, user: &str) -> Value {
    let body = json!({ "device_keys": { user: [] } });
    asking.api.post("/_matrix/client/v3/keys/query", body).await.unwrap().ok().unwrap()
}

/// The name of the key that is claimed of somebody's device.
pub(crate) async fn claim(asking: &User, of: &User) -> Option<(String, Value)> {
    let body = json!({ "one_time_keys": { &of.id: { &of.device: "signed_curve25519" } } });
    let answer = asking.api.post("/_matrix/client/v3/keys/claim", body).await.unwrap();
    let answer = answer.ok().unwrap();
    let keys = answer["one_time_keys"][&of.id][&of.device].as_object()?.clone();
    assert_eq!(keys.len(), 1);
    keys.into_iter().next()
}
