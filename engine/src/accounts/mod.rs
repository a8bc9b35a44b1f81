//! Accounts: who may use this server, from which devices, and how they prove it.
//!
//! In reading order: what a session is ([`tokens`]), how one proves to be somebody ([`passwords`],
//! [`attempts`], [`names`], [`emails`], [`threepids`], [`uia`]), how one comes ([`register`],
//! [`login`], [`login_tokens`]), who acts for others ([`masquerade`]), how one shows others who one is ([`openid`]), what one has
//! ([`devices`], [`profiles`], [`data`], [`export`]), how one is found ([`directory`]), how one goes
//! ([`password`], [`deactivate`], [`erasure`]), what administrators do ([`admin`], [`moderation`], [`shadow`]) and are
//! told ([`reports`]), and what is done in the background ([`follow`], [`guests`], [`upkeep`]).

use std::{fmt, sync::Arc};

use ruma::{OwnedDeviceId, OwnedUserId};
use starling_storage::accounts::{flags, rate_limits::RateLimitRow as RateLimit};

use crate::appservices::ApplicationService;

pub mod tokens;

pub mod attempts;
pub mod emails;
pub mod names;
pub mod passwords;
pub mod threepids;
pub mod uia;

pub mod data;
pub mod devices;
pub mod directory;
pub mod follow;
pub mod guests;
pub mod login;
pub mod login_tokens;
pub mod masquerade;
pub mod openid;
pub mod profiles;
pub mod register;

pub mod deactivate;
pub mod erasure;
pub mod export;
pub mod password;

pub mod admin;
pub mod moderation;
pub mod reports;
pub mod shadow;
pub mod upkeep;

/// Who makes a request: what an access token stands for.
#[derive(Clone, PartialEq, Eq)]
pub struct Session {
    /// The user.
    pub user_id: OwnedUserId,
    /// The device; empty when an application service acts without one ([`Session::device`]).
    pub device_id: OwnedDeviceId,
    /// The access token's hash.
    pub token: tokens::Hash,
    /// How often the user may do something, if that is not as for everybody.
    pub rate_limit: Option<RateLimit>,
    /// The application service that acts for the user.
    pub appservice: Option<Arc<ApplicationService>>,
    flags: i16,
}

impl Session {
    /// Whether the account administers this server.
    #[must_use]
    pub fn is_admin(&self) -> bool {
        self.flags & flags::ADMIN != 0
    }

    /// Whether the account is a guest's: it may do little.
    #[must_use]
    pub fn is_guest(&self) -> bool {
        self.flags & flags::GUEST != 0
    }

    /// Whether the account is locked: everything but logging out is refused.
    #[must_use]
    pub fn is_locked(&self) -> bool {
        self.flags & flags::LOCKED != 0
    }

    /// Whether the account is shadow-banned: what it says seems to be said, and is not.
    #[must_use]
    pub fn is_shadow_banned(&self) -> bool {
        self.flags & flags::SHADOW_BANNED != 0
    }

    /// Whether the account is suspended: it may read, and do little else.
    #[must_use]
    pub fn is_suspended(&self) -> bool {
        self.flags & flags::SUSPENDED != 0
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Session({} on {})", self.user_id, self.device_id)
    }
}

/// What the process remembers about accounts.
#[derive(Debug, Default)]
pub struct Memory {
    pub(crate) sessions: tokens::Cache,
    pub(crate) passwords: passwords::Pool,
    pub(crate) seen: devices::Seen,
    pub(crate) remote_profiles: profiles::RemoteProfiles,
    pub(crate) follow: follow::Wake,
    pub(crate) directory: directory::follow::Memory,
}
