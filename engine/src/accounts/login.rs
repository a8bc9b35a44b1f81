//! Logging in.

use ruma::{OwnedDeviceId, OwnedUserId, UserId};
use starling_storage::{
    Change, Claim, CommitError,
    accounts::{self, Once, flags, passes},
};

use super::{
    attempts,
    devices::{self, NewDevice},
    masquerade::{self, MasqueradeError},
    names,
    passwords::{self, PasswordError},
    tokens::{self, Hash, Issued},
    uia::Named,
};
use crate::{Engine, Internal, appservices::ApplicationService};

/// A client that is logged in.
pub struct LoggedIn {
    /// The user.
    pub user_id: OwnedUserId,
    /// The device.
    pub device_id: OwnedDeviceId,
    /// Its tokens.
    pub tokens: Issued,
}

/// Why somebody is not logged in.
#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    /// There is no such account, or its password is another, which of the two nobody is told; or
    /// there is no such log-in token (any more).
    #[error("name, password or token is wrong")]
    Wrong,
    /// The account is no more.
    #[error("the account is deactivated")]
    Deactivated,
    /// The account is locked.
    #[error("the account is locked")]
    Locked,
    /// The user is none of the application service that asks.
    #[error("the user is in no namespace of the application service")]
    Exclusive,
    /// The device's id or name cannot be one.
    #[error("the device's id or name is too long")]
    BadDevice,
    /// Too many passwords wait to be checked.
    #[error("too many passwords wait to be checked")]
    Busy,
    /// The server failed.
    #[error(transparent)]
    Internal(#[from] Internal),
}

impl From<PasswordError> for LoginError {
    fn from(error: PasswordError) -> Self {
        match error {
            PasswordError::Busy => Self::Busy,
            PasswordError::Internal(cause) => Self::Internal(cause),
        }
    }
}

/// Logs in by a password.
///
/// # Errors
///
/// [`LoginError`].
pub async fn with_password(
    engine: &Engine,
    named: &Named,
    password: String,
    device: NewDevice,
) -> Result<LoggedIn, LoginError> {
    if !device.is_acceptable() {
        return Err(LoginError::BadDevice);
    }
    let account = names::find(engine, &named.user).await?;
    let hash = account.as_ref().and_then(|account| account.password_hash.clone());
    let is_right = passwords::verify(engine, password, hash.clone()).await?;
    let account = account.ok_or(LoginError::Wrong)?;
    if account.deactivated_ts.is_some() {
        return Err(LoginError::Deactivated);
    }
    if !is_right {
        return Err(LoginError::Wrong);
    }
    if account.flags & flags::LOCKED != 0 {
        return Err(LoginError::Locked);
    }
    let user = UserId::parse(account.user_id.as_str()).map_err(Internal::from)?;
    let mut change = Change::new();
    // The check took its time. A session that began with a password which was changed meanwhile
    // would outlive the change.
    change.claim(Claim::Password { user_id: user.to_string(), hash });
    if let Some(email) = &named.email {
        attempts::forget(&mut change, attempts::Kind::AccountPasswords, email);
    }
    enter(engine, change, user, device).await
}

/// Logs in by a log-in token, which serves once.
///
/// # Errors
///
/// [`LoginError`].
pub async fn with_token(
    engine: &Engine,
    token: &str,
    device: NewDevice,
) -> Result<LoggedIn, LoginError> {
    if !device.is_acceptable() {
        return Err(LoginError::BadDevice);
    }
    let hash = Hash::of(token).to_vec();
    let mut conn = engine.storage.read().await.map_err(Internal::from)?;
    let pass = passes::get(&mut conn, passes::Kind::Login, &hash).await.map_err(Internal::from)?;
    let pass = pass.filter(|pass| engine.clock.now_ms() < pass.expires_ts);
    let pass = pass.ok_or(LoginError::Wrong)?;
    let account = accounts::user(&mut conn, &pass.user_id).await.map_err(Internal::from)?;
    drop(conn);
    let account = account.ok_or(LoginError::Wrong)?;
    if account.deactivated_ts.is_some() {
        return Err(LoginError::Deactivated);
    }
    if account.flags & flags::LOCKED != 0 {
        return Err(LoginError::Locked);
    }
    let user = UserId::parse(pass.user_id).map_err(Internal::from)?;
    let mut change = Change::new();
    change.claim(Claim::Once(Once::LoginToken(hash)));
    // A change about the password, or the end of the account, comes wholly before this or after it.
    change.claim(Claim::Password { user_id: user.to_string(), hash: None });
    enter(engine, change, user, device).await
}

/// Logs an application service in as a user in one of its namespaces.
///
/// # Errors
///
/// [`LoginError`].
pub async fn by_service(
    engine: &Engine,
    service: &ApplicationService,
    named: &str,
    device: NewDevice,
) -> Result<LoggedIn, LoginError> {
    if !device.is_acceptable() {
        return Err(LoginError::BadDevice);
    }
    let account = match masquerade::account(engine, service, named).await {
        Ok(account) => account.ok_or(LoginError::Wrong)?,
        Err(MasqueradeError::Internal(error)) => return Err(error.into()),
        Err(_) => return Err(LoginError::Exclusive),
    };
    if account.deactivated_ts.is_some() {
        return Err(LoginError::Deactivated);
    }
    if account.flags & flags::LOCKED != 0 {
        return Err(LoginError::Locked);
    }
    let user = UserId::parse(account.user_id.as_str()).map_err(Internal::from)?;
    let mut change = Change::new();
    // The end of the account comes wholly before this or after it.
    change.claim(Claim::Password { user_id: user.to_string(), hash: None });
    enter(engine, change, user, device).await
}

/// Logs a user in who has proved to be that user, if what `change` claims still holds.
async fn enter(
    engine: &Engine,
    mut change: Change,
    user_id: OwnedUserId,
    device: NewDevice,
) -> Result<LoggedIn, LoginError> {
    let (device_id, tokens) = devices::enter(engine, &mut change, &user_id, device);
    attempts::forget(&mut change, attempts::Kind::AccountPasswords, user_id.as_str());
    match engine.storage.commit(change).await {
        Ok(_) => {}
        Err(CommitError::UsedUp) => return Err(LoginError::Wrong),
        Err(error) => return Err(Internal::from(error).into()),
    }
    tokens::revoked(engine);
    Ok(LoggedIn { user_id, device_id, tokens })
}
