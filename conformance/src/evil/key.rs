//! A signing key: signs events and requests, and is published with a signature of its own.

use anyhow::Result;
use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use ed25519_dalek::{Signer as _, SigningKey};
use serde_json::{Value, json};

use super::json::render;
use crate::random;

/// An ed25519 key of a server.
#[derive(Clone, Debug)]
pub struct Key {
    key: SigningKey,
    /// The name of the key, such as `ed25519:evil`.
    pub id: String,
}

impl Key {
    /// A new key.
    pub fn new() -> Result<Self> {
        let key = SigningKey::from_bytes(&random::bytes()?);
        Ok(Self { key, id: format!("ed25519:{}", random::suffix()?) })
    }

    /// The signature of a text, in base64 without padding.
    pub fn sign(&self, text: &str) -> String {
        STANDARD_NO_PAD.encode(self.key.sign(text.as_bytes()).to_bytes())
    }

    /// The public key, in base64 without padding.
    pub fn public(&self) -> String {
        STANDARD_NO_PAD.encode(self.key.verifying_key().as_bytes())
    }

    /// The answer to `GET /_matrix/key/v2/server`, valid until this time (milliseconds).
    pub fn document(&self, server: &str, valid_until: u64) -> Result<Value> {
        let mut document = json!({
            "server_name": server,
            "verify_keys": { &self.id: { "key": self.public() } },
            "old_verify_keys": {},
            "valid_until_ts": valid_until,
        });
        let signature = self.sign(&render(&document)?);
        document["signatures"] = json!({ server: { &self.id: signature } });
        Ok(document)
    }

    /// The value of the `Authorization` header of a request.
    ///
    /// `target` is the path with its query as it is sent.
    pub fn authorization(
        &self,
        origin: &str,
        destination: &str,
        method: &str,
        target: &str,
        content: Option<&Value>,
    ) -> Result<String> {
        let mut signed = json!({
            "method": method,
            "uri": target,
            "origin": origin,
            "destination": destination,
        });
        if let Some(content) = content {
            signed["content"] = content.clone();
        }
        let signature = self.sign(&render(&signed)?);
        let id = &self.id;
        Ok(format!(
            r#"X-Matrix origin="{origin}",destination="{destination}",key="{id}",sig="{signature}""#
        ))
    }
}
