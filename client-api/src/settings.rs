//! What this door needs to know about its deployment.

use std::num::NonZeroU32;

/// Settings of the client-server API, filled by the program.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Whether requests above the limits are refused.
    pub rate_limits: bool,
    /// Where those limits are that are counted in memory.
    pub allowances: Allowances,
    /// What one must agree to when registering; none: nothing is asked.
    pub policies: Vec<Policy>,
    /// Where other servers find this one, for `/.well-known/matrix/server`; `None`: not announced.
    pub federation_name: Option<String>,
    /// Whom to turn to, for `/.well-known/matrix/support`; `None`: not announced.
    pub support: Option<Support>,
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
    /// Searching, listing, looking up what other servers must be asked for.
    pub asking: Allowance,
    /// Changing one's account, profile, devices.
    pub account: Allowance,
}

/// A burst, and what comes after it.
#[derive(Clone, Copy, Debug)]
pub struct Allowance {
    /// How many at once.
    pub burst: NonZeroU32,
    /// How many more with each second.
    pub per_second: NonZeroU32,
}

impl Allowance {
    /// An allowance; what is 0 counts as 1.
    pub fn new(burst: u32, per_second: u32) -> Self {
        let or_one = |number| NonZeroU32::new(number).unwrap_or(NonZeroU32::MIN);
        Self { burst: or_one(burst), per_second: or_one(per_second) }
    }
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
