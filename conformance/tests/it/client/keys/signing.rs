//! Keys that sign, for tests.

use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use ed25519_dalek::{Signer as _, SigningKey};
use serde_json::{Value, json};
use starling_conformance::{client::User, evil::render};

/// A key pair.
pub(crate) struct Pair(SigningKey);

impl Pair {
    pub(crate) fn new(seed: u8) -> Self {
        Self(SigningKey::from_bytes(&[seed; 32]))
    }

    /// The public key in base64.
    pub(crate) fn public(&self) -> String {
        STANDARD_NO_PAD.encode(self.0.verifying_key().as_bytes())
    }

    /// A key to be published for that usage.
    pub(crate) fn key(&self, user: &User, usage: &str) -> Value {
        let public = self.public();
        json!({
            "user_id": user.id, "usage": [usage], "keys": { format!("ed25519:{public}"): public },
        })
    }

    /// Adds a signature of a user's under the name of a key.
    pub(crate) fn sign_as(&self, object: &mut Value, user: &str, name: &str) {
        let mut content = object.clone();
        content.as_object_mut().unwrap().remove("signatures");
        content.as_object_mut().unwrap().remove("unsigned");
        let text = render(&content).unwrap();
        let signature = STANDARD_NO_PAD.encode(self.0.sign(text.as_bytes()).to_bytes());
        object["signatures"][user][format!("ed25519:{name}")] = signature.into();
    }

    /// Adds a signature of a user's under the key's own name.
    pub(crate) fn sign(&self, object: &mut Value, user: &User) {
        self.sign_as(object, &user.id, &self.public());
    }
}

/// The three keys of a user.
pub(crate) struct Keys {
    pub(crate) master: Pair,
    pub(crate) self_signing: Pair,
    pub(crate) user_signing: Pair,
}

impl Keys {
    pub(crate) fn new(seed: u8) -> Self {
        let pair = |number| Pair::new(seed + number);
        Self { master: pair(0), self_signing: pair(1), user_signing: pair(2) }
    }

    /// What is uploaded.
    pub(crate) fn upload(&self, user: &User) -> Value {
        let mut self_signing = self.self_signing.key(user, "self_signing");
        let mut user_signing = self.user_signing.key(user, "user_signing");
        self.master.sign(&mut self_signing, user);
        self.master.sign(&mut user_signing, user);
        json!({
            "master_key": self.master.key(user, "master"),
            "self_signing_key": self_signing,
            "user_signing_key": user_signing,
        })
    }
}
