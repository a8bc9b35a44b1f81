//! Setting a password.

use ruma::{DeviceId, UserId};
use starling_storage::{Change, Claim, CommitError, accounts};

use super::{
    devices,
    passwords::{self, PasswordError},
    tokens,
    uia::Proof,
};
use crate::{Engine, Internal};

/// Why a password is not set.
#[derive(Debug, thiserror::Error)]
pub enum SetPasswordError {
    /// It is empty or too long.
    #[error("the password is empty or longer than {} bytes", passwords::LONGEST)]
    BadPassword,
    /// The session was used by another request meanwhile.
    #[error("the session has been used")]
    UsedUp,
    /// Too many passwords wait to be hashed.
    #[error("too many passwords wait to be hashed")]
    Busy,
    /// The server failed.
    #[error(transparent)]
    Internal(#[from] Internal),
}

impl From<PasswordError> for SetPasswordError {
    fn from(error: PasswordError) -> Self {
        match error {
            PasswordError::Busy => Self::Busy,
            PasswordError::Internal(cause) => Self::Internal(cause),
        }
    }
}

/// Whose sessions end with the old password.
#[derive(Clone, Copy, Debug)]
pub enum LogOut<'a> {
    /// Nobody's.
    None,
    /// All but that device's.
    AllBut(Option<&'a DeviceId>),
}

/// Sets the password of a user.
///
/// # Errors
///
/// [`SetPasswordError`].
pub async fn change(
    engine: &Engine,
    user: &UserId,
    password: String,
    log_out: LogOut<'_>,
    proof: &Proof,
) -> Result<(), SetPasswordError> {
    let mut change = Change::new();
    proof.claim(engine, &mut change);
    set(engine, user, password, log_out, change).await
}

/// Sets the password on top of what `change` claims.
pub(crate) async fn set(
    engine: &Engine,
    user: &UserId,
    password: String,
    log_out: LogOut<'_>,
    mut change: Change,
) -> Result<(), SetPasswordError> {
    if !passwords::is_acceptable(&password) {
        return Err(SetPasswordError::BadPassword);
    }
    let hash = Some(passwords::hash(engine, password).await?);
    change.claim(Claim::Password { user_id: user.to_string(), hash: None });
    change.write(accounts::Write::Password { user_id: user.to_string(), hash });
    if let LogOut::AllBut(device) = log_out {
        devices::remove_all(engine, &mut change, user, device).await?;
    }
    match engine.storage.commit(change).await {
        Ok(_) => {
            tokens::revoked(engine);
            Ok(())
        }
        Err(CommitError::UsedUp) => Err(SetPasswordError::UsedUp),
        Err(error) => Err(Internal::from(error).into()),
    }
}
