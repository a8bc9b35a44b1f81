//! The `rtc` section.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// The `rtc` section.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Rtc {
    /// Addresses of services that let users into a LiveKit server (`lk-jwt-service`), such as
    /// `https://livekit.example.org/jwt`. Clients such as Element Call take the first one; empty: there is
    /// none.
    ///
    /// They are told to users who are logged in (MSC4143) and, where `client.public_url` is set, in
    /// `/.well-known/matrix/client` as `org.matrix.msc4143.rtc_foci`.
    pub(crate) livekit_urls: Vec<String>,
}

impl Rtc {
    /// What makes no sense, in one line that names the setting.
    pub(super) fn validate(&self) -> Result<(), String> {
        let is_web =
            |url: &String| matches!(url::Url::parse(url), Ok(it) if it.scheme() == "https");
        match self.livekit_urls.iter().find(|url| !is_web(url)) {
            Some(url) => Err(format!("`rtc.livekit_urls`: {url:?} is no https address")),
            None => Ok(()),
        }
    }

    /// The transports, as clients are told of them.
    pub(crate) fn transports(&self) -> Vec<Value> {
        let livekit = |url: &String| json!({ "type": "livekit", "livekit_service_url": url });
        self.livekit_urls.iter().map(livekit).collect()
    }
}
