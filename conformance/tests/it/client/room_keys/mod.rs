//! Backups of keys.

mod keys;
mod version;

use serde_json::{Value, json};
use starling_conformance::client::User;

pub(crate) const VERSION: &str = "/_matrix/client/v3/room_keys/version";

/// Makes a backup and gives back its version.
pub(crate) async fn create(user: &User, number: i64) -> String {
    let body = json!({
        "algorithm": "m.megolm_backup.v1.curve25519-aes-sha2", "auth_data": { "n": number },
    });
    let answer = user.api.post(VERSION, body).await.unwrap().ok().unwrap();
    answer["version"].as_str().unwrap().to_owned()
}

/// A session.
pub(crate) fn session(is_verified: bool, first: i64, forwarded: i64) -> Value {
    json!({
        "first_message_index": first, "forwarded_count": forwarded, "is_verified": is_verified,
        "session_data": { "ciphertext": "abc", "float": 1.5 },
    })
}
