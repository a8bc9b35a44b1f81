//! The accounts of this deployment.

mod put;

use std::collections::BTreeMap;

use ruma::{DeviceId, OwnedDeviceId, UserId};
use serde_json::value::RawValue;
use starling_storage::{Change, account_data, accounts::flags, admin::users as rows, memberships};

pub use self::put::{Put, put};
pub use starling_storage::admin::users::{Order, Wanted};

use crate::{
    Engine, Internal,
    accounts::{
        deactivate::{self, DeactivateError},
        devices, moderation, names,
        password::{self, LogOut, SetPasswordError},
        profiles::SetFieldError,
        register::RegisterError,
        threepids::{self, AddError, Threepid},
        tokens,
    },
};

/// An account, as administrators see it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// The user id.
    pub user_id: String,
    /// The display name.
    pub display_name: Option<String>,
    /// The avatar.
    pub avatar_url: Option<String>,
    /// Whether it is a guest.
    pub is_guest: bool,
    /// Whether it administers this server.
    pub is_admin: bool,
    /// Whether it is locked.
    pub is_locked: bool,
    /// Whether it is suspended.
    pub is_suspended: bool,
    /// Whether it is shadow-banned.
    pub is_shadow_banned: bool,
    /// Whether it is closed.
    pub is_deactivated: bool,
    /// Whether its user asked for their data to be erased.
    pub is_erased: bool,
    /// The application service that owns it.
    pub appservice_id: Option<String>,
    /// When it was made.
    pub created_ts: i64,
    /// When one of its devices was last seen.
    pub last_seen_ts: Option<i64>,
}

impl From<rows::ListedUser> for Account {
    fn from(listed: rows::ListedUser) -> Self {
        let has = |flag: i16| listed.user.flags & flag != 0;
        let text = |json: Option<&String>| json.and_then(|json| serde_json::from_str(json).ok());
        Self {
            display_name: text(listed.display_name.as_ref()),
            avatar_url: text(listed.avatar_url.as_ref()),
            is_guest: has(flags::GUEST),
            is_admin: has(flags::ADMIN),
            is_locked: has(flags::LOCKED),
            is_suspended: has(flags::SUSPENDED),
            is_shadow_banned: has(flags::SHADOW_BANNED),
            is_erased: has(flags::ERASED),
            is_deactivated: listed.user.deactivated_ts.is_some(),
            created_ts: listed.user.created_ts,
            last_seen_ts: listed.last_seen_ts,
            user_id: listed.user.user_id,
            appservice_id: listed.user.appservice_id,
        }
    }
}

/// Why an account is not shown or changed.
#[derive(Debug, thiserror::Error)]
pub enum UserError {
    /// The user is of another server.
    #[error("the user is not of this server")]
    NotOurs,
    /// There is no such account.
    #[error("there is no such account")]
    NotFound,
    /// Administrators do this to others only.
    #[error("you cannot do this to yourself")]
    Own,
    /// The user administers this server too.
    #[error("the user administers this server too")]
    OtherAdmin,
    /// What is wanted does not go together.
    #[error("{0}")]
    Contradiction(&'static str),
    /// The password cannot be set.
    #[error(transparent)]
    Password(#[from] SetPasswordError),
    /// The account cannot be made.
    #[error(transparent)]
    Register(#[from] RegisterError),
    /// The addresses cannot be the account's.
    #[error(transparent)]
    Threepids(#[from] AddError),
    /// The name or avatar cannot be set.
    #[error(transparent)]
    Profile(#[from] SetFieldError),
    /// The server failed.
    #[error(transparent)]
    Internal(#[from] Internal),
}

impl From<starling_storage::DbError> for UserError {
    fn from(error: starling_storage::DbError) -> Self {
        Self::Internal(error.into())
    }
}

/// A page of accounts, and how many there are in all.
///
/// # Errors
///
/// When the database fails.
pub async fn list(engine: &Engine, wanted: &Wanted) -> Result<(Vec<Account>, i64), Internal> {
    let mut conn = engine.storage.read().await?;
    let (rows, total) = rows::page(&mut conn, wanted).await?;
    Ok((rows.into_iter().map(Account::from).collect(), total))
}

/// An account of this server.
///
/// # Errors
///
/// [`UserError::NotOurs`] or [`UserError::NotFound`].
pub async fn get(engine: &Engine, user: &UserId) -> Result<Account, UserError> {
    if user.server_name() != engine.config.server_name {
        return Err(UserError::NotOurs);
    }
    let mut conn = engine.storage.read().await?;
    let row = rows::get(&mut conn, user.as_str()).await?;
    row.map(Account::from).ok_or(UserError::NotFound)
}

/// The e-mail addresses of an account.
///
/// # Errors
///
/// When the database fails.
pub async fn emails(engine: &Engine, user: &UserId) -> Result<Vec<Threepid>, Internal> {
    threepids::list(engine, user).await
}

/// The account that somebody means who gives a name or a user id.
///
/// # Errors
///
/// [`UserError::NotFound`].
pub async fn named(engine: &Engine, given: &str) -> Result<Account, UserError> {
    let row = names::find(engine, given).await?.ok_or(UserError::NotFound)?;
    let user = UserId::parse(row.user_id).map_err(Internal::from)?;
    get(engine, &user).await
}

/// What an account may be or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Right {
    /// It administers this server.
    Admin,
    /// It is locked.
    Locked,
    /// It is suspended.
    Suspended,
    /// It is shadow-banned.
    ShadowBanned,
}

impl Right {
    fn flag(self) -> i16 {
        match self {
            Self::Admin => flags::ADMIN,
            Self::Locked => flags::LOCKED,
            Self::Suspended => flags::SUSPENDED,
            Self::ShadowBanned => flags::SHADOW_BANNED,
        }
    }

    /// Whether whoever has it at this value may do less than before.
    fn is_loss(self, value: bool) -> bool {
        match self {
            Self::Admin => !value,
            Self::Locked | Self::Suspended | Self::ShadowBanned => value,
        }
    }
}

/// Gives an account a right, or takes it away. Nobody shuts themselves out, and administrators restrict
/// each other only after the right to administer is taken away.
///
/// # Errors
///
/// [`UserError`].
pub async fn set(
    engine: &Engine,
    by: Option<&UserId>,
    user: &UserId,
    right: Right,
    value: bool,
) -> Result<(), UserError> {
    let account = get(engine, user).await?;
    if by == Some(user) && right.is_loss(value) {
        return Err(UserError::Own);
    }
    if account.is_deactivated && right == Right::Admin && value {
        return Err(UserError::Contradiction("the account is closed"));
    }
    // As by the specification's way to do it. Who runs the server may.
    if by.is_some() && account.is_admin && right != Right::Admin {
        return Err(UserError::OtherAdmin);
    }
    Ok(moderation::set_flag(engine, user, right.flag(), value).await?)
}

/// Closes an account. One that is closed already stays so, and can still be erased.
///
/// # Errors
///
/// [`UserError`].
pub async fn deactivate(engine: &Engine, user: &UserId, erase: bool) -> Result<(), UserError> {
    let account = get(engine, user).await?;
    if !account.is_deactivated {
        match deactivate::close(engine, user, erase, Change::new()).await {
            Ok(()) => return Ok(()),
            Err(DeactivateError::Internal(error)) => return Err(error.into()),
            // It was closed meanwhile.
            Err(DeactivateError::NotFound | DeactivateError::UsedUp) => {}
        }
    }
    if erase && !account.is_erased {
        deactivate::erase(engine, user).await?;
    }
    Ok(())
}

/// Sets the password of an account.
///
/// # Errors
///
/// [`UserError`].
pub async fn set_password(
    engine: &Engine,
    user: &UserId,
    password: String,
    log_out: bool,
) -> Result<(), UserError> {
    if get(engine, user).await?.is_deactivated {
        return Err(UserError::Contradiction("the account is closed"));
    }
    let log_out = if log_out { LogOut::AllBut(None) } else { LogOut::None };
    password::set(engine, user, password, log_out, Change::new()).await?;
    Ok(())
}

/// An access token by which an administrator acts for a user, who sees no device of it. It ends at a
/// time, or when the user logs out everywhere.
///
/// # Errors
///
/// [`UserError`].
pub async fn log_in_as(
    engine: &Engine,
    by: &UserId,
    user: &UserId,
    expires_ts: Option<i64>,
) -> Result<String, UserError> {
    if by == user {
        return Err(UserError::Own);
    }
    if get(engine, user).await?.is_deactivated {
        return Err(UserError::Contradiction("the account is closed"));
    }
    if expires_ts.is_some_and(|expiry| expiry <= engine.clock.now_ms()) {
        return Err(UserError::Contradiction("the time is over"));
    }
    let mut change = Change::new();
    let device = devices::new_device_id();
    let token = tokens::issue_until(engine, &mut change, user, &device, expires_ts);
    engine.storage.commit(change).await.map_err(Internal::from)?;
    Ok(token)
}

/// What a user is in which room.
///
/// # Errors
///
/// When the database fails.
pub async fn memberships(
    engine: &Engine,
    user: &UserId,
) -> Result<BTreeMap<String, String>, Internal> {
    let mut conn = engine.storage.read().await?;
    let rows = memberships::of_user(&mut conn, user.as_str()).await?;
    Ok(rows.into_iter().map(|row| (row.room_id, row.membership)).collect())
}

/// The account data of a user by room and type; the room `""` is all of them.
pub type AllData = BTreeMap<String, BTreeMap<String, Box<RawValue>>>;

/// All account data of a user.
///
/// # Errors
///
/// When the database fails.
pub async fn account_data(engine: &Engine, user: &UserId) -> Result<AllData, Internal> {
    let mut conn = engine.storage.read().await?;
    let rows = account_data::between(&mut conn, user.as_str(), -1, i64::MAX).await?;
    let mut all = AllData::from([(String::new(), BTreeMap::new())]);
    for (room_id, kind, content) in rows {
        all.entry(room_id).or_default().insert(kind, RawValue::from_string(content)?);
    }
    Ok(all)
}

/// Adds a device to an account, as one that nobody is logged in on.
///
/// # Errors
///
/// [`UserError`].
pub async fn add_device(
    engine: &Engine,
    user: &UserId,
    device: &DeviceId,
) -> Result<(), UserError> {
    get(engine, user).await?;
    Ok(devices::add(engine, user, device).await?)
}

/// Removes devices of an account with their sessions.
///
/// # Errors
///
/// [`UserError`].
pub async fn remove_devices(
    engine: &Engine,
    user: &UserId,
    devices: &[OwnedDeviceId],
) -> Result<(), UserError> {
    get(engine, user).await?;
    Ok(devices::remove_with(engine, user, devices, Change::new()).await?)
}
