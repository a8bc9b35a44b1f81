//! The `rate_limits` section.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use starling_client_api as client_api;
use starling_engine::allowance;

/// The `rate_limits` section.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct RateLimits {
    /// Whether requests above the limits are refused with `M_LIMIT_EXCEEDED`. Off for tests only.
    ///
    /// Attempts at passwords, registration tokens and registrations have limits that cannot be changed.
    pub(crate) enabled: bool,

    /// All requests of one user, and those of one address that are made without an access token.
    pub(crate) requests: Allowance,

    /// Sending events: messages, state, redactions.
    pub(crate) sending: Allowance,

    /// Joining, inviting, knocking, kicking and banning.
    pub(crate) joining: Allowance,

    /// Creating rooms and aliases.
    pub(crate) creating: Allowance,

    /// Searching, listing, and looking up what other servers must be asked for; also typing
    /// notifications, receipts and read markers.
    pub(crate) asking: Allowance,

    /// Changing an account, its password, a profile, devices or push rules, and reporting.
    pub(crate) account: Allowance,

    /// Uploading and downloading files and their thumbnails, and previews of web pages.
    pub(crate) media: Allowance,
    /// All requests of one other server. It may also have no more than 16 of them answered at a time.
    pub(crate) requests_by_server: Allowance,

    /// Invites that one other server sends to users of this one.
    pub(crate) invites_by_server: Allowance,
}

/// How many requests are let through.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Allowance {
    /// How many at once.
    pub(crate) burst: u32,

    /// How many more with each second.
    pub(crate) per_second: u32,
}

impl RateLimits {
    /// The allowances, as the door wants them.
    pub(crate) fn allowances(&self) -> client_api::Allowances {
        client_api::Allowances {
            requests: self.requests.into(),
            sending: self.sending.into(),
            joining: self.joining.into(),
            creating: self.creating.into(),
            asking: self.asking.into(),
            account: self.account.into(),
            media: self.media.into(),
        }
    }

    /// How many requests one other server may make; `None`: any number.
    pub(crate) fn requests_by_server(&self) -> Option<allowance::Allowance> {
        self.enabled.then(|| self.requests_by_server.into())
    }

    /// How many invites one other server may send; `None`: any number.
    pub(crate) fn invites_by_server(&self) -> Option<allowance::Allowance> {
        self.enabled.then(|| self.invites_by_server.into())
    }

    /// The first allowance that lets nothing through.
    pub(super) fn validate(&self) -> Result<(), String> {
        let allowances = [
            ("requests", self.requests),
            ("sending", self.sending),
            ("joining", self.joining),
            ("creating", self.creating),
            ("asking", self.asking),
            ("account", self.account),
            ("media", self.media),
            ("requests_by_server", self.requests_by_server),
            ("invites_by_server", self.invites_by_server),
        ];
        let nothing = |(_, one): &(_, Allowance)| one.burst == 0 || one.per_second == 0;
        match allowances.into_iter().find(nothing) {
            Some((name, _)) => Err(format!("`rate_limits.{name}` must be at least 1")),
            None => Ok(()),
        }
    }
}

impl Default for RateLimits {
    fn default() -> Self {
        let usual = client_api::Allowances::default();
        Self {
            enabled: true,
            requests: usual.requests.into(),
            sending: usual.sending.into(),
            joining: usual.joining.into(),
            creating: usual.creating.into(),
            asking: usual.asking.into(),
            account: usual.account.into(),
            media: usual.media.into(),
            // The largest server sends one transaction after the other, and its users look around.
            requests_by_server: Allowance { burst: 1000, per_second: 100 },
            // A user of a large server who invites a whole room at once is not held up.
            invites_by_server: Allowance { burst: 100, per_second: 1 },
        }
    }
}

impl From<allowance::Allowance> for Allowance {
    fn from(allowance: allowance::Allowance) -> Self {
        Self { burst: allowance.burst.get(), per_second: allowance.per_second.get() }
    }
}

impl From<Allowance> for allowance::Allowance {
    fn from(allowance: Allowance) -> Self {
        Self::new(allowance.burst, allowance.per_second)
    }
}
