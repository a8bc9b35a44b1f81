//! What this door needs to know about its deployment.

/// Settings of the client-server API, filled by the program.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Whether requests above the limits are refused.
    pub rate_limits: bool,
    /// What one must agree to when registering; none: nothing is asked.
    pub policies: Vec<Policy>,
    /// Where other servers find this one, for `/.well-known/matrix/server`; `None`: not announced.
    pub federation_name: Option<String>,
    /// Whom to turn to, for `/.well-known/matrix/support`; `None`: not announced.
    pub support: Option<Support>,
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
