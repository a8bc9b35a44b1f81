//! What this door needs to know about its deployment.

use std::{collections::BTreeMap, fmt, time::Duration};

use serde_json::{Map, Value};
use starling_engine::allowance::Allowance;

/// Settings of the client-server API, filled by the program.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Whether requests above the limits are refused.
    pub rate_limits: bool,
    /// Where those limits are that are counted in memory.
    pub allowances: Allowances,
    /// What one must agree to when registering; none: nothing is asked.
    pub policies: Vec<Policy>,
    /// Whether one must show an e-mail address when registering.
    pub require_email: bool,
    /// The public key of captchas that one must solve when registering; `None`: there are none.
    pub captcha_site_key: Option<String>,
    /// Where other servers find this one, for `/.well-known/matrix/server`; `None`: not announced.
    pub federation_name: Option<String>,
    /// Whom to turn to, for `/.well-known/matrix/support`; `None`: not announced.
    pub support: Option<Support>,
    /// Whether users may make log-in tokens for their other clients.
    pub login_tokens: bool,
    /// The TURN servers for calls, if there are any.
    pub turn: Option<Turn>,
    /// What carries calls of many, each as clients are told of it (MSC4143).
    pub rtc_transports: Vec<Value>,
    /// Further keys of `/.well-known/matrix/client`.
    pub well_known: Map<String, Value>,
    /// Public keys for `/.well-known/matrix/policy_server`; none: not announced.
    pub policy_server_keys: BTreeMap<String, String>,
}

/// How much one user or address may do, of each kind.
#[derive(Clone, Copy, Debug)]
pub struct Allowances {
    /// Anything at all.
    pub requests: Allowance,
    /// Sending events.
    pub sending: Allowance,
    /// Joining, inviting, knocking and the like.
    pub joining: Allowance,
    /// Making rooms and aliases.
    pub creating: Allowance,
    /// Searching, listing, looking up what other servers must be asked for; typing, receipts, read
    /// markers.
    pub asking: Allowance,
    /// Changing one's account, profile, devices.
    pub account: Allowance,
    /// Uploading and downloading files, previews of web pages.
    pub media: Allowance,
}

impl Default for Allowances {
    fn default() -> Self {
        Self {
            requests: Allowance::new(500, 50),
            sending: Allowance::new(50, 10),
            joining: Allowance::new(20, 1),
            creating: Allowance::new(10, 1),
            asking: Allowance::new(50, 10),
            account: Allowance::new(50, 5),
            media: Allowance::new(200, 20),
        }
    }
}

/// A document that one must agree to when registering.
#[derive(Clone, Debug)]
pub struct Policy {
    /// A short name that stays the same over its versions, such as `privacy_policy`.
    pub id: String,
    /// The version.
    pub version: String,
    /// What it is called, in English.
    pub name: String,
    /// Where it can be read.
    pub url: String,
    /// Name and address in other languages, by their codes.
    pub translations: BTreeMap<String, (String, String)>,
}

impl Policy {
    /// Name and address in the first language of an `Accept-Language` header that there is.
    pub(crate) fn in_language(&self, accepted: &str) -> (&str, &str) {
        let languages = accepted.split(',');
        for language in languages.map(|it| it.split(';').next().unwrap_or_default().trim()) {
            if language.eq_ignore_ascii_case("en") {
                break;
            }
            let is_it = |(known, _): &(&String, _)| known.eq_ignore_ascii_case(language);
            if let Some((_, (name, url))) = self.translations.iter().find(is_it) {
                return (name, url);
            }
        }
        (&self.name, &self.url)
    }
}

/// Whom to turn to about this server.
#[derive(Clone, Debug, Default)]
pub struct Support {
    /// People with a role.
    pub contacts: Vec<Contact>,
    /// A page about the server.
    pub support_page: Option<String>,
}

/// Somebody with a role.
#[derive(Clone, Debug)]
pub struct Contact {
    /// `m.role.admin`, `m.role.security`, `m.role.moderator`, `m.role.dpo` or one of your own.
    pub role: String,
    /// Their user id.
    pub matrix_id: Option<String>,
    /// Their e-mail address.
    pub email_address: Option<String>,
}

/// The TURN servers, and how one is let in.
#[derive(Clone, Debug)]
pub struct Turn {
    /// Their addresses.
    pub uris: Vec<String>,
    /// How one is let in.
    pub access: TurnAccess,
    /// For how long.
    pub ttl: Duration,
    /// Whether guests are, too.
    pub guests: bool,
}

/// How a TURN server lets somebody in.
#[derive(Clone)]
pub enum TurnAccess {
    /// Users get credentials of their own, made with this secret.
    SharedSecret(String),
    /// Everybody has the same.
    Account {
        /// The user name.
        username: String,
        /// Its password.
        password: String,
    },
}

impl fmt::Debug for TurnAccess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::SharedSecret(_) => "SharedSecret(…)",
            Self::Account { .. } => "Account { … }",
        })
    }
}
