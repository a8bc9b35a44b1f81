//! What shadow-banned accounts are told that they have sent.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use sha2::{Digest as _, Sha256};

use super::Session;

/// The identifier of an event that there is not, without its sigil: the same one for the same session
/// and request, as a client expects that repeats a transaction. It looks like a hash, and tells nothing.
#[must_use]
pub fn id(session: &Session, request: &[&str]) -> String {
    let mut hash = Sha256::new();
    hash.update(session.token.to_vec());
    for part in request {
        hash.update(part.len().to_be_bytes());
        hash.update(part.as_bytes());
    }
    URL_SAFE_NO_PAD.encode(hash.finalize())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::TestEngine;

    #[tokio::test]
    async fn one_request_has_one_id() {
        let test = TestEngine::new().await.unwrap();
        let (_, issued) = test.user("alice").await.unwrap();
        let (_, other) = test.user("bob").await.unwrap();
        let of = async |token: &str| super::super::tokens::authenticate(&test.engine, token).await;
        let alice = of(&issued.access_token).await.unwrap();
        let bob = of(&other.access_token).await.unwrap();
        let first = id(&alice, &["a", "bc"]);
        assert_eq!(first.len(), 43);
        assert_eq!(first, id(&alice, &["a", "bc"]));
        assert_ne!(first, id(&alice, &["ab", "c"]));
        assert_ne!(first, id(&bob, &["a", "bc"]));
    }
}
