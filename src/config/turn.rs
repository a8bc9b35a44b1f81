//! The `turn` section.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use starling_client_api as client_api;

use super::types::{self, Secret};

/// The `turn` section.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Turn {
    /// Addresses of TURN servers, such as `turn:turn.example.org?transport=udp`. Empty: there is none.
    ///
    /// They carry calls between clients that cannot reach each other.
    pub(crate) uris: Vec<String>,

    /// The secret that the TURN server shares with this one (`static-auth-secret` of coturn). Each user
    /// gets credentials of their own, which end.
    pub(crate) shared_secret: Secret,

    /// A fixed user name for everybody, instead of a shared secret.
    #[serde(with = "types::empty_is_none")]
    #[schemars(with = "String")]
    pub(crate) username: Option<String>,

    /// The password of that user name.
    pub(crate) password: Secret,

    /// For how many seconds credentials are valid.
    pub(crate) ttl_seconds: u32,

    /// Whether guests get credentials too.
    pub(crate) guests: bool,
}

impl Default for Turn {
    fn default() -> Self {
        Self {
            uris: Vec::new(),
            shared_secret: Secret::default(),
            username: None,
            password: Secret::default(),
            ttl_seconds: 86_400,
            guests: false,
        }
    }
}

impl Turn {
    /// What makes no sense, in one line that names the setting.
    pub(super) fn validate(&self) -> Result<(), String> {
        let schemes = ["turn:", "turns:", "stun:", "stuns:"];
        if let Some(uri) =
            self.uris.iter().find(|uri| !schemes.iter().any(|it| uri.starts_with(it)))
        {
            return Err(format!("`turn.uris`: {uri:?} starts with none of `turn:`, `turns:`"));
        }
        if self.uris.is_empty() {
            return Ok(());
        }
        if self.access().is_none() {
            return Err("`turn.uris` need either `turn.shared_secret`, or `turn.username` and \
                        `turn.password`"
                .to_owned());
        }
        if self.ttl_seconds == 0 {
            return Err("`turn.ttl_seconds` must be at least 1".to_owned());
        }
        Ok(())
    }

    /// The TURN servers, as the door wants them.
    pub(crate) fn settings(&self) -> Option<client_api::Turn> {
        let access = self.access().filter(|_| !self.uris.is_empty())?;
        Some(client_api::Turn {
            uris: self.uris.clone(),
            access,
            ttl: Duration::from_secs(self.ttl_seconds.into()),
            guests: self.guests,
        })
    }

    fn access(&self) -> Option<client_api::TurnAccess> {
        match (self.shared_secret.get(), &self.username, self.password.get()) {
            (Some(secret), None, None) => {
                Some(client_api::TurnAccess::SharedSecret(secret.to_owned()))
            }
            (None, Some(username), Some(password)) => Some(client_api::TurnAccess::Account {
                username: username.clone(),
                password: password.to_owned(),
            }),
            _ => None,
        }
    }
}
