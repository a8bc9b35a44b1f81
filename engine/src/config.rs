//! What the engine needs to know about its deployment.

use ruma::{OwnedServerName, RoomVersionId};

use crate::appservices::ApplicationServices;

/// Settings of the engine, filled by the program.
#[derive(Clone, Debug)]
pub struct Config {
    /// The name after the colon of this deployment's users.
    pub server_name: OwnedServerName,
    /// Where clients reach the server (`https://…`), for `.well-known` and log-in responses.
    pub public_url: Option<String>,
    /// The version of new rooms for which the client names none.
    pub default_room_version: RoomVersionId,
    /// Whether users forget the rooms that they leave.
    pub forget_upon_leave: bool,
    /// Who may register.
    pub registration: Registration,
    /// How e-mail addresses of users are known; `None`: they are not, and no letters are sent.
    pub email: Option<Email>,
    /// What hashing a password costs.
    pub password_hashing: PasswordHashing,
    /// The servers whose word on other servers' keys is taken, besides those servers' own.
    pub trusted_notaries: Vec<OwnedServerName>,
    /// Whether users are shown who is there.
    pub presence: Presence,
    /// Finding users.
    pub user_directory: UserDirectory,
    /// Looking at profiles.
    pub profiles: Profiles,
    /// How the server speaks to its users; `None`: it does not.
    pub server_notices: Option<ServerNotices>,
    /// For how long messages are kept.
    pub retention: Retention,
    /// What files are taken and kept.
    pub media: Media,
    /// Whom messages notify.
    pub push: Push,
    /// Events that are sent later.
    pub delayed_events: DelayedEvents,
    /// The bridges and bots that act for users.
    pub appservices: ApplicationServices,
    /// Bytes that the caches of events and state may take together.
    pub cache_bytes: u64,
}

/// Who may register.
#[derive(Clone, Debug)]
pub struct Registration {
    /// What is asked of whom registers.
    pub mode: RegistrationMode,
    /// Whether guests are let in.
    pub guests: bool,
    /// For the registration endpoint of administrators' tools.
    pub shared_secret: Option<String>,
}

/// What is asked of whom registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RegistrationMode {
    /// Nobody may register.
    Closed,
    /// A registration token (`m.login.registration_token`).
    Token,
    /// Nothing (`m.login.dummy`).
    Open,
}

/// How e-mail addresses of users are known.
#[derive(Clone, Debug, Default)]
pub struct Email {
    /// What letters call this server.
    pub app_name: String,
    /// Whether requests tell if an address belongs to an account.
    pub tell_whether_known: bool,
    /// The hosts that the link in a letter may lead on to.
    pub next_link_hosts: Vec<String>,
    /// The domains that addresses may be of, in lower case; none: any.
    pub allowed_domains: Vec<String>,
    /// How long a message is unread before a letter says so, in milliseconds.
    pub notify_after_ms: i64,
    /// How long after a letter about messages the next one may follow, in milliseconds.
    pub notify_again_ms: i64,
}

impl Email {
    /// Whether accounts may have an address, which is given in its canonical form.
    #[must_use]
    pub fn allows(&self, address: &str) -> bool {
        let domain = address.rsplit_once('@').map_or("", |(_, domain)| domain);
        self.allowed_domains.is_empty() || self.allowed_domains.iter().any(|it| it == domain)
    }
}

/// Who is shown the profiles of users.
#[derive(Clone, Copy, Debug)]
pub struct Profiles {
    /// Who asks by way of this server.
    pub visible_to: Audience,
    /// Whether other servers are told of users of this one.
    pub to_servers: bool,
}

impl Default for Profiles {
    fn default() -> Self {
        Self { visible_to: Audience::Everyone, to_servers: true }
    }
}

/// Who may look at something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audience {
    /// Anybody.
    Everyone,
    /// Who has an account here.
    Users,
    /// Who has an account here and shares a room with whom it is about.
    Sharing,
}

/// Whether users are shown who is there.
#[derive(Clone, Copy, Debug)]
pub struct Presence {
    /// Whether there is presence at all.
    pub enabled: bool,
}

/// Finding users.
#[derive(Clone, Copy, Debug)]
pub struct UserDirectory {
    /// Whether users can be found at all.
    pub enabled: bool,
    /// Whether every local user can be found, not only those who share a room with who asks, or are in
    /// one that anybody may join or read.
    pub search_all_users: bool,
}

impl Default for UserDirectory {
    fn default() -> Self {
        Self { enabled: true, search_all_users: false }
    }
}

impl Default for Presence {
    fn default() -> Self {
        Self { enabled: true }
    }
}

/// How the server speaks to its users.
#[derive(Clone, Debug)]
pub struct ServerNotices {
    /// The name of the account that speaks, which nobody can log in to.
    pub localpart: String,
    /// What it is called.
    pub display_name: String,
    /// Its avatar.
    pub avatar_url: Option<String>,
    /// How the rooms are called in which it speaks.
    pub room_name: String,
}

/// For how long messages are kept, in milliseconds.
#[derive(Clone, Copy, Debug, Default)]
pub struct Retention {
    /// In rooms that do not say so; `None`: for ever.
    pub default_ms: Option<i64>,
    /// No room may ask for less.
    pub shortest_ms: Option<i64>,
    /// No room that says something may ask for more.
    pub longest_ms: Option<i64>,
}

/// Events that are sent later.
#[derive(Clone, Copy, Debug)]
pub struct DelayedEvents {
    /// Whether there are any.
    pub enabled: bool,
    /// How long one waits at most, in milliseconds.
    pub longest_ms: i64,
    /// How many of one user wait at most.
    pub most_per_user: i64,
}

impl Default for DelayedEvents {
    fn default() -> Self {
        Self { enabled: true, longest_ms: 24 * 60 * 60 * 1_000, most_per_user: 100 }
    }
}

/// Whom messages notify.
#[derive(Clone, Copy, Debug, Default)]
pub struct Push {
    /// Whether messages of a thread notify those who follow it, and nobody else by default.
    pub follow_threads: bool,
    /// Whether push gateways may be at addresses in private networks, and be spoken to without TLS.
    pub allow_private_addresses: bool,
}

/// The parameters of argon2id.
#[derive(Clone, Copy, Debug)]
pub struct PasswordHashing {
    /// KiB of memory.
    pub memory_kib: u32,
    /// Passes over the memory.
    pub iterations: u32,
}

impl Default for PasswordHashing {
    fn default() -> Self {
        Self { memory_kib: 19 * 1024, iterations: 2 }
    }
}

/// What files are taken and kept.
#[derive(Clone, Debug)]
pub struct Media {
    /// Bytes of a file that a user uploads, at most.
    pub largest_upload: u64,
    /// Bytes of a file of another server, at most.
    pub largest_remote: u64,
    /// Bytes that one user may upload altogether; `None`: any number.
    pub quota_per_user: Option<u64>,
    /// Whether what is uploaded or fetched from now on is for those only who are logged in.
    pub freeze_legacy: bool,
    /// Bytes of other servers' files that are kept, at most; `None`: all.
    pub most_remote: Option<u64>,
    /// How long they are kept after somebody wanted them, in milliseconds; `None`: for ever.
    pub remote_lifetime_ms: Option<i64>,
    /// Whether pages of the web are looked at for users who want to see what they are about.
    pub url_previews: bool,
}

impl Default for Media {
    fn default() -> Self {
        Self {
            largest_upload: 50 * 1024 * 1024,
            largest_remote: 50 * 1024 * 1024,
            quota_per_user: None,
            freeze_legacy: true,
            most_remote: None,
            remote_lifetime_ms: None,
            url_previews: true,
        }
    }
}
