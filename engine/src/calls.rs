//! Credentials for a TURN server, which carries calls between clients that cannot reach each other.
//! Pure.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#voice-over-ip>

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use ruma::UserId;
use sha1::Sha1;

/// A name and a password by which a TURN server that shares `secret` with this one lets a user in
/// until `until`, in seconds since the epoch: the way of coturn's `use-auth-secret`.
#[must_use]
pub fn credentials(secret: &str, user_id: &UserId, until: i64) -> Option<(String, String)> {
    let name = format!("{until}:{user_id}");
    let mut mac = Hmac::<Sha1>::new_from_slice(secret.as_bytes()).ok()?;
    mac.update(name.as_bytes());
    let password = STANDARD.encode(mac.finalize().into_bytes());
    Some((name, password))
}

#[cfg(test)]
mod tests {
    use ruma::user_id;

    use super::*;

    #[test]
    fn they_are_what_a_turn_server_computes() {
        // printf '1443779631:@user:example.com' | openssl dgst -sha1 -hmac n0t4ctuallys3cret -binary | base64
        let (name, password) =
            credentials("n0t4ctuallys3cret", user_id!("@user:example.com"), 1_443_779_631).unwrap();
        assert_eq!(name, "1443779631:@user:example.com");
        assert_eq!(password, "ds0JCFr2Du2hgU121A8XEcXmMLw=");
    }
}
