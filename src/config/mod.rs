//! The configuration: every setting that exists, with its documentation and its default.
//!
//! The field comments below are what an administrator reads: `starling config example` and
//! `docs/configuration.md` are made from them. Their first line is the summary.

mod appservices;
mod delayed_events;
mod document;
mod email;
mod example;
mod load;
mod media;
mod profiles;
mod push;
mod rate_limits;
mod reference;
mod registration;
mod rtc;
mod telemetry;
mod turn;
mod types;
mod user_directory;
mod validate;

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf, time::Duration};

use ipnet::IpNet;
use ruma::{OwnedServerName, RoomVersionId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use starling_engine::rooms::versions;

pub(crate) use self::{
    delayed_events::DelayedEvents,
    email::{Email, SmtpTls},
    example::example,
    load::{ConfigError, load, process_environment},
    media::Media,
    push::Push,
    rate_limits::RateLimits,
    registration::{Recaptcha, Registration},
    telemetry::{Log, Telemetry},
    types::{ListenAddress, LogFormat, Memory, RegistrationMode, Secret},
    user_directory::UserDirectory,
};

/// All settings.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Config {
    /// The name of this server: what stands after the colon in its users' and rooms' names.
    ///
    /// Other servers find this one by it, so for anything but a try-out it is a domain name you
    /// control. It cannot be changed once the database exists.
    #[schemars(with = "String")]
    pub(crate) server_name: OwnedServerName,

    /// The directory for everything that must survive a restart and is not in the database.
    ///
    /// Keys, certificates and the embedded database live here. It is created, readable by its
    /// owner only. `--data` overrides it. Relative paths start at the working directory.
    pub(crate) data_dir: PathBuf,

    /// Memory for events and state that were used last, such as `512 MiB` or `2 GiB`.
    ///
    /// The whole process needs more: this bounds what it keeps because it has room. It is at most a quarter of
    /// what the machine has, or the control group that the process was started in allows it, beyond 64 MiB.
    #[schemars(with = "String")]
    pub(crate) memory_budget: Memory,

    /// Where clients connect.
    pub(crate) client: Client,

    /// Where tools of administrators connect.
    pub(crate) admin: Admin,

    /// How this server talks to other servers.
    pub(crate) federation: Federation,

    /// Where data is stored.
    pub(crate) database: Database,

    /// Who may make an account.
    pub(crate) registration: Registration,

    /// Letters by which users show that an e-mail address is theirs.
    pub(crate) email: Email,

    /// Accounts and their passwords.
    pub(crate) accounts: Accounts,

    /// Bridges and bots that act for users.
    pub(crate) appservices: appservices::Appservices,

    /// New rooms.
    pub(crate) rooms: Rooms,

    /// What the server says to its users.
    pub(crate) server_notices: ServerNotices,

    /// For how long messages are kept.
    pub(crate) retention: Retention,

    /// Files that users upload, and web pages that they point at.
    pub(crate) media: Media,

    /// Whom messages notify.
    pub(crate) push: Push,

    /// Events that clients have sent later.
    pub(crate) delayed_events: DelayedEvents,

    /// Who is there.
    pub(crate) presence: Presence,

    /// Finding users by their names.
    pub(crate) user_directory: UserDirectory,

    /// What users say about themselves.
    pub(crate) profiles: profiles::Profiles,

    /// Servers that carry calls.
    pub(crate) turn: turn::Turn,

    /// Servers that carry calls of many.
    pub(crate) rtc: rtc::Rtc,

    /// Protection against floods of requests.
    pub(crate) rate_limits: RateLimits,

    /// What one listener takes on.
    pub(crate) limits: Limits,

    /// What is written to standard error.
    pub(crate) log: Log,

    /// What is measured.
    pub(crate) telemetry: Telemetry,
}

/// The `client` section.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Client {
    /// Addresses of the client API, plain HTTP: `address:port` or `unix:/path/of/socket`.
    ///
    /// Put a proxy with TLS in front of anything that is not loopback. Sockets get mode 0660.
    #[schemars(with = "Vec<String>")]
    pub(crate) listen: Vec<ListenAddress>,

    /// The base address at which clients reach this server from outside, such as
    /// `https://matrix.example.org`.
    ///
    /// When set it is announced to clients at `/.well-known/matrix/client`.
    #[serde(with = "types::empty_is_none")]
    #[schemars(with = "String")]
    pub(crate) public_url: Option<String>,

    /// Networks of the proxies in front, such as `127.0.0.0/8` or `::1/128`.
    ///
    /// `X-Forwarded-For` names a client's address, and `X-Request-Id` the request in the log, only when
    /// the request comes from one of these (or from a Unix socket); from anyone else they are ignored, as
    /// `traceparent` is. A proxy has to set or remove `X-Request-Id` and `traceparent` itself, or clients
    /// choose them.
    #[schemars(with = "Vec<String>")]
    pub(crate) trusted_proxies: Vec<IpNet>,

    /// A page about this server, announced at `/.well-known/matrix/support`.
    #[serde(with = "types::empty_is_none")]
    #[schemars(with = "String")]
    pub(crate) support_page: Option<String>,

    /// Whom to turn to, announced at `/.well-known/matrix/support`. Each has a `role`
    /// (`m.role.admin`, `m.role.security`) and a `matrix_id`, an `email_address` or both.
    ///
    /// `[{ role = "m.role.admin", email_address = "admin@example.org" }]`
    pub(crate) support_contacts: Vec<SupportContact>,

    /// Further keys that clients find at `/.well-known/matrix/client`, beside `client.public_url`: where
    /// maps are drawn, where calls of many are carried.
    ///
    /// `"org.matrix.msc3488.tile_server" = { map_style_url = "https://maps.example.org/style.json" }`
    #[schemars(with = "BTreeMap<String, serde_json::Value>")]
    pub(crate) well_known: BTreeMap<String, serde_json::Value>,

    /// Public keys of a policy server that has this server's name, announced at
    /// `/.well-known/matrix/policy_server`: by algorithm, in unpadded base64.
    ///
    /// `ed25519 = "6yhHGKhCiXTSEN2ksjV7kX_N6rBQZ3Xb-M7LlC6NS-s"`
    pub(crate) policy_server_keys: BTreeMap<String, String>,
}

/// The `admin` section.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Admin {
    /// Addresses that answer `/_synapse/admin` to administrators, beside the client API:
    /// `address:port` or `unix:/path/of/socket`. docs/admin-api.md says what is there.
    ///
    /// An address of `client.listen` may be named here again; then whoever reaches the client API
    /// reaches these too, and the access token of an administrator is all that protects them.
    #[schemars(with = "Vec<String>")]
    pub(crate) listen: Vec<ListenAddress>,
}

/// Somebody to turn to.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SupportContact {
    /// What they are responsible for.
    pub(crate) role: String,
    /// Their user id.
    #[serde(default)]
    pub(crate) matrix_id: Option<String>,
    /// Their e-mail address.
    #[serde(default)]
    pub(crate) email_address: Option<String>,
}

/// The `federation` section.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Federation {
    /// Whether this server talks to other servers at all.
    pub(crate) enabled: bool,

    /// Addresses of the server API: `address:port` or `unix:/path/of/socket`.
    ///
    /// Unix sockets are for a proxy on the same machine and never use TLS.
    #[schemars(with = "Vec<String>")]
    pub(crate) listen: Vec<ListenAddress>,

    /// Whether the client listeners answer the server API too.
    ///
    /// For setups in which one proxy sends everything to one address.
    pub(crate) also_on_client_listener: bool,

    /// Files with further certificate authorities (PEM) that other servers' certificates may
    /// come from, besides those the operating system trusts.
    pub(crate) trusted_ca_files: Vec<PathBuf>,

    /// Whether other servers may have addresses in private networks.
    ///
    /// Names are chosen by strangers: leave this off unless all servers are on your network.
    pub(crate) allow_private_addresses: bool,

    /// The name at which other servers find this one, if that is not the server name and port
    /// 8448: `matrix.example.org:443`.
    ///
    /// When set it is announced at `/.well-known/matrix/server`, which they ask for at
    /// `https://` and the server name.
    #[serde(with = "types::empty_is_none")]
    #[schemars(with = "String")]
    pub(crate) public_name: Option<String>,

    /// Servers whose word on other servers' keys is taken when those do not answer, in the order
    /// in which they are asked.
    ///
    /// A notary that lies can make this server believe forged events. Empty: none is asked.
    #[schemars(with = "Vec<String>")]
    pub(crate) trusted_notaries: Vec<OwnedServerName>,

    /// Whether other servers may read the directory of public rooms.
    pub(crate) allow_public_rooms: bool,

    /// The server API's own TLS.
    pub(crate) tls: Tls,

    /// Fixed addresses for some server names: `"name" = "address:port"`.
    ///
    /// They replace the discovery of the specification; certificates are still checked against
    /// the name. These addresses may be private.
    #[schemars(with = "BTreeMap<String, String>")]
    pub(crate) resolve_overrides: BTreeMap<OwnedServerName, SocketAddr>,
}

/// The `federation.tls` section.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Tls {
    /// Whether the addresses in `federation.listen` speak TLS. Off when a proxy in front does.
    pub(crate) enabled: bool,

    /// The certificate chain, a PEM file. Read again on SIGHUP.
    ///
    /// Without one, a self-signed certificate is made in the data directory on first start. Other
    /// servers accept that only if they are told to trust it.
    #[serde(with = "types::empty_is_none")]
    #[schemars(with = "String")]
    pub(crate) certificate: Option<PathBuf>,

    /// The private key of the certificate, a PEM file. Read again on SIGHUP.
    #[serde(with = "types::empty_is_none")]
    #[schemars(with = "String")]
    pub(crate) key: Option<PathBuf>,
}

/// The `database` section.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Database {
    /// `sqlite:/path/of/file` or `postgres://user:password@host/database`.
    ///
    /// Without one, SQLite in the data directory. PostgreSQL must be version 13 or newer. One process
    /// works on a database; it holds a lock in a session, which a pooler in between must leave to it.
    pub(crate) url: Secret,

    /// Connections that this process opens: for reading (SQLite), or in all (PostgreSQL), where one more holds
    /// the lock of the process.
    pub(crate) connections: u32,
}

/// The `accounts` section.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Accounts {
    /// Whether users who have given their password again may make a token by which another client of
    /// theirs logs in, once and within two minutes.
    pub(crate) login_tokens: bool,

    /// What it costs to check one password, and so to guess one (argon2id).
    pub(crate) password_hashing: PasswordHashing,
}

/// The `accounts.password_hashing` section.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct PasswordHashing {
    /// Memory for one password, in KiB. Passwords that are already stored keep their cost.
    pub(crate) memory_kib: u32,

    /// Passes over that memory.
    pub(crate) iterations: u32,
}

/// The `rooms` section.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Rooms {
    /// The version of new rooms for which the client names none, `1` to `12`.
    #[schemars(with = "String")]
    pub(crate) default_version: RoomVersionId,

    /// Whether users forget a room as they leave it, are removed from it or banned: what they could read
    /// of it they cannot read any more.
    pub(crate) forget_upon_leave: bool,
}

/// The `server_notices` section.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct ServerNotices {
    /// The name of the account that speaks for the server, such as `server-notices`: what stands before
    /// the colon of its user id. Nobody can log in to it, nor register it. Without a name there are no
    /// server notices.
    ///
    /// They are sent by `starling admin notice` and `/_synapse/admin/v1/send_server_notice`. Each user
    /// has one room for them; who is invited to it cannot refuse, but leave after joining.
    #[serde(with = "types::empty_is_none")]
    #[schemars(with = "String")]
    pub(crate) localpart: Option<String>,

    /// What that account is called.
    pub(crate) display_name: String,

    /// Its avatar, `mxc://…`.
    #[serde(with = "types::empty_is_none")]
    #[schemars(with = "String")]
    pub(crate) avatar_url: Option<String>,

    /// What the rooms are called in which it speaks.
    pub(crate) room_name: String,
}

/// The `retention` section.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Retention {
    /// Whether messages are removed that are older than the policy of their room allows: its
    /// `m.room.retention` (MSC1763), within the bounds below. It is looked for them every hour.
    ///
    /// State, what the graph of events stands on and the newest message of a room stay. What is
    /// removed here, other servers may still have. `starling admin expired` tells what would go.
    pub(crate) enabled: bool,

    /// Days for which messages are kept in rooms that do not say so. 0: for ever.
    pub(crate) default_days: u32,

    /// No room can have messages removed that are younger than so many days. 0: no bound.
    pub(crate) shortest_days: u32,

    /// No room whose policy, or `default_days`, says for how long keeps messages for longer than so many days.
    /// 0: no bound.
    pub(crate) longest_days: u32,
}

/// The `presence` section.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Presence {
    /// Whether users who share a room see each other being online, here and on other servers. It is kept
    /// in memory, and in rooms with more than 200 members nobody is woken for it.
    pub(crate) enabled: bool,
}

/// The `limits` section.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Limits {
    /// Connections that one listener holds at the same time; further ones are closed at once. Each takes some
    /// 20 KiB of memory, and 40 to 50 while it waits for an answer: those of all listeners are never more than
    /// fit, at 48 KiB, into half of what the machine has, or the control group that the process was started in allows
    /// it, beyond 64 MiB.
    pub(crate) connections: usize,

    /// Seconds in which a TLS handshake, and then the head of the next request, must be complete. A
    /// connection that is idle for longer is closed; one of HTTP/2 when it answers pings no more.
    pub(crate) header_seconds: u64,

    /// Seconds for which the body of a request may stand still, or nothing of an answer be taken. A body that
    /// comes at less than a kilobyte a second counts as standing still.
    pub(crate) body_seconds: u64,

    /// Milliseconds by which the server may be late to do what is due, or wait for a connection of its database,
    /// because there is too much to do, until it refuses a part of the requests (429, `M_LIMIT_EXCEEDED`): as many
    /// as it takes to be late by an eighth of that, so that who is let in is served in time and who is not hears it at
    /// once. 0 refuses none.
    pub(crate) late_ms: u64,
}

impl Limits {
    /// How late the server may be; `None` for as late as it gets.
    pub(crate) fn allowed_lateness(&self) -> Option<Duration> {
        (self.late_ms > 0).then(|| Duration::from_millis(self.late_ms))
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            server_name: types::default_server_name(),
            data_dir: "data".into(),
            memory_budget: Memory::mib(256),
            client: Client::default(),
            admin: Admin::default(),
            federation: Federation::default(),
            database: Database::default(),
            registration: Registration::default(),
            email: Email::default(),
            accounts: Accounts::default(),
            appservices: appservices::Appservices::default(),
            rooms: Rooms::default(),
            server_notices: ServerNotices::default(),
            retention: Retention::default(),
            media: Media::default(),
            push: Push::default(),
            delayed_events: DelayedEvents::default(),
            presence: Presence::default(),
            user_directory: UserDirectory::default(),
            profiles: profiles::Profiles::default(),
            turn: turn::Turn::default(),
            rtc: rtc::Rtc::default(),
            rate_limits: RateLimits::default(),
            limits: Limits::default(),
            log: Log::default(),
            telemetry: Telemetry::default(),
        }
    }
}

impl Default for Client {
    fn default() -> Self {
        Self {
            listen: vec![ListenAddress::Tcp(SocketAddr::from(([127, 0, 0, 1], 8008)))],
            public_url: None,
            trusted_proxies: Vec::new(),
            support_page: None,
            support_contacts: Vec::new(),
            well_known: BTreeMap::new(),
            policy_server_keys: BTreeMap::new(),
        }
    }
}

impl Default for Admin {
    fn default() -> Self {
        Self { listen: vec![ListenAddress::Tcp(SocketAddr::from(([127, 0, 0, 1], 8009)))] }
    }
}

impl Default for Federation {
    fn default() -> Self {
        Self {
            enabled: true,
            listen: vec![ListenAddress::Tcp(SocketAddr::from(([127, 0, 0, 1], 8448)))],
            also_on_client_listener: false,
            trusted_ca_files: Vec::new(),
            allow_private_addresses: false,
            public_name: None,
            trusted_notaries: Vec::new(),
            allow_public_rooms: false,
            tls: Tls::default(),
            resolve_overrides: BTreeMap::new(),
        }
    }
}

impl Default for Tls {
    fn default() -> Self {
        Self { enabled: true, certificate: None, key: None }
    }
}

impl Default for Database {
    fn default() -> Self {
        Self { url: Secret::default(), connections: 16 }
    }
}

impl Default for Accounts {
    fn default() -> Self {
        Self { login_tokens: true, password_hashing: PasswordHashing::default() }
    }
}

impl Default for PasswordHashing {
    fn default() -> Self {
        Self { memory_kib: 19_456, iterations: 2 }
    }
}

impl Default for Rooms {
    fn default() -> Self {
        Self { default_version: versions::DEFAULT, forget_upon_leave: false }
    }
}

impl Default for ServerNotices {
    fn default() -> Self {
        Self {
            localpart: None,
            display_name: "Server notices".to_owned(),
            avatar_url: None,
            room_name: "Server notices".to_owned(),
        }
    }
}

impl Default for Presence {
    fn default() -> Self {
        Self { enabled: true }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self { connections: 10_000, header_seconds: 30, body_seconds: 30, late_ms: 250 }
    }
}
