//! What is asked of identity servers. Users name them, so they are strangers: their answers are
//! bounded, and no word of theirs reaches a client.
//!
//! <https://spec.matrix.org/v1.19/identity-service-api/>

use std::{collections::HashMap, time::Duration};

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use bytes::Bytes;
use http::{Method, Request, header};
use ruma::{OwnedUserId, ServerName};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use super::{ThirdParty, ThreepidError};
use crate::{Engine, remote::Limits};

/// What a question may cost.
pub(super) const LIMITS: Limits = Limits { timeout: Duration::from_secs(20), max_body: 64 * 1024 };

/// How many keys an invite may have.
const MAX_KEYS: usize = 10;

/// How long a text in an answer may be, in bytes.
const LONGEST: usize = 1024;

/// An identity server, asked about one address in the name of one user.
pub(super) struct IdentityServer<'a> {
    engine: &'a Engine,
    whom: &'a ThirdParty,
    address: String,
}

/// What became of an invite that was to be kept.
pub(super) enum Stored {
    /// It is kept.
    Kept(Kept),
    /// The address belongs to a user by now.
    Bound(OwnedUserId),
}

/// An invite that the identity server keeps.
#[derive(Deserialize)]
pub(super) struct Kept {
    pub(super) token: String,
    public_keys: Vec<PublicKey>,
    display_name: String,
}

#[derive(Deserialize)]
struct PublicKey {
    public_key: String,
    key_validity_url: String,
}

#[derive(Deserialize)]
struct HashDetails {
    algorithms: Vec<String>,
    lookup_pepper: String,
}

#[derive(Deserialize)]
struct Mappings {
    mappings: HashMap<String, OwnedUserId>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Refusal {
    errcode: String,
    mxid: Option<OwnedUserId>,
}

impl<'a> IdentityServer<'a> {
    pub(super) fn new(engine: &'a Engine, whom: &'a ThirdParty) -> Result<Self, ThreepidError> {
        let malformed = |what: &str| ThreepidError::Malformed(format!("that is no {what}"));
        <&ServerName>::try_from(whom.id_server.as_str())
            .map_err(|_| malformed("identity server"))?;
        if !whom.id_access_token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(malformed("token"));
        }
        let address = match whom.medium.as_str() {
            "email" => whom.address.to_lowercase(),
            _ => whom.address.clone(),
        };
        Ok(Self { engine, whom, address })
    }

    /// The user to whom the address belongs, if the identity server knows one.
    pub(super) async fn lookup(&self) -> Result<Option<OwnedUserId>, ThreepidError> {
        let details: HashDetails = self.ask(Method::GET, "hash_details", None).await?;
        let plain = format!("{} {}", self.address, self.whom.medium);
        let has = |name: &str| details.algorithms.iter().any(|algorithm| algorithm == name);
        let (algorithm, name) = if has("sha256") {
            let digest = Sha256::digest(format!("{plain} {}", details.lookup_pepper));
            ("sha256", BASE64_URL_SAFE_NO_PAD.encode(digest))
        } else if has("none") {
            ("none", plain)
        } else {
            return Ok(None);
        };
        let body = json!({
            "addresses": [name], "algorithm": algorithm, "pepper": details.lookup_pepper,
        });
        let mut found: Mappings = self.ask(Method::POST, "lookup", Some(&body)).await?;
        Ok(found.mappings.remove(&name))
    }

    /// Has the invite kept until the address belongs to somebody.
    pub(super) async fn store(&self, about: &Map<String, Value>) -> Result<Stored, ThreepidError> {
        let mut body = about.clone();
        body.insert("medium".to_owned(), self.whom.medium.as_str().into());
        body.insert("address".to_owned(), self.address.as_str().into());
        match self.exchange(Method::POST, "store-invite", Some(&body.into())).await? {
            Ok(answer) => {
                let kept: Kept = read(&answer)?;
                kept.check()?;
                Ok(Stored::Kept(kept))
            }
            Err(Refusal { errcode, mxid: Some(mxid) }) if errcode == "M_THREEPID_IN_USE" => {
                Ok(Stored::Bound(mxid))
            }
            Err(refusal) => Err(ThreepidError::Refused(refusal.errcode)),
        }
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        method: Method,
        endpoint: &str,
        body: Option<&Value>,
    ) -> Result<T, ThreepidError> {
        match self.exchange(method, endpoint, body).await? {
            Ok(answer) => read(&answer),
            Err(refusal) => Err(ThreepidError::Refused(refusal.errcode)),
        }
    }

    async fn exchange(
        &self,
        method: Method,
        endpoint: &str,
        body: Option<&Value>,
    ) -> Result<Result<Bytes, Refusal>, ThreepidError> {
        let failed = |error: &dyn std::fmt::Display| ThreepidError::Unreachable(error.to_string());
        let url = format!("https://{}/_matrix/identity/v2/{endpoint}", self.whom.id_server);
        let body = body.map_or_else(Bytes::new, |body| body.to_string().into());
        let request = Request::builder()
            .method(method)
            .uri(url)
            .header(header::AUTHORIZATION, format!("Bearer {}", self.whom.id_access_token))
            .body(body)
            .map_err(|error| failed(&error))?;
        let response = self.engine.transport.fetch(request, LIMITS).await;
        let response = response.map_err(|error| failed(&error))?;
        let status = response.status();
        if status.is_success() {
            return Ok(Ok(response.into_body()));
        }
        if status.is_client_error() {
            return Ok(Err(serde_json::from_slice(response.body()).unwrap_or_default()));
        }
        Err(failed(&format!("status {status}")))
    }
}

fn read<T: DeserializeOwned>(answer: &[u8]) -> Result<T, ThreepidError> {
    serde_json::from_slice(answer).map_err(|error| ThreepidError::Unreachable(error.to_string()))
}

impl Kept {
    /// "Must be a string consisting of the characters `[0-9a-zA-Z.=_-]`. Its length must not exceed 255
    /// characters and it must not be empty."
    fn check(&self) -> Result<(), ThreepidError> {
        let is_grammatical = |byte: u8| byte.is_ascii_alphanumeric() || b".=_-".contains(&byte);
        let token = !self.token.is_empty()
            && self.token.len() <= 255
            && self.token.bytes().all(is_grammatical);
        let short = |text: &str| text.len() <= LONGEST;
        let keys = (1..=MAX_KEYS).contains(&self.public_keys.len())
            && self
                .public_keys
                .iter()
                .all(|key| short(&key.key_validity_url) && super::proof::is_key(&key.public_key));
        match token && keys && short(&self.display_name) {
            true => Ok(()),
            false => Err(ThreepidError::Unreachable("a malformed answer".to_owned())),
        }
    }

    /// The content of `m.room.third_party_invite`.
    pub(super) fn content(&self) -> Value {
        let key = |key: &PublicKey| json!({ "public_key": key.public_key, "key_validity_url": key.key_validity_url });
        let keys: Vec<Value> = self.public_keys.iter().map(key).collect();
        // "This exists for backwards compatibility."
        let first = keys.first().cloned().unwrap_or_default();
        json!({
            "display_name": self.display_name,
            "public_key": first["public_key"],
            "key_validity_url": first["key_validity_url"],
            "public_keys": keys,
        })
    }
}
