//! Closing an account.

use ruma::UserId;
use starling_storage::{
    Change, Claim, CommitError, account_data,
    accounts::{self, flags, threepids},
    delayed_events, subscriptions,
};

use super::{devices, directory, follow, names, tokens, uia::Proof};
use crate::{Engine, Internal, encryption};

/// Why an account is not closed.
#[derive(Debug, thiserror::Error)]
pub enum DeactivateError {
    /// There is no such account, or it is closed already.
    #[error("there is no such account")]
    NotFound,
    /// The session was used by another request meanwhile.
    #[error("the session has been used")]
    UsedUp,
    /// The server failed.
    #[error(transparent)]
    Internal(#[from] Internal),
}

/// Closes an account for good: nobody can log in to it, nobody else gets its name, its profile is
/// gone, and it leaves its rooms by and by. With `erase` also what clients kept here is gone, and what
/// the user said is hidden from those who come later ([`super::erasure`]).
///
/// # Errors
///
/// [`DeactivateError`].
pub async fn deactivate(
    engine: &Engine,
    user: &UserId,
    erase: bool,
    proof: &Proof,
) -> Result<(), DeactivateError> {
    let mut change = Change::new();
    proof.claim(engine, &mut change);
    close(engine, user, erase, change).await
}

/// Closes an account on top of what `change` claims.
pub(crate) async fn close(
    engine: &Engine,
    user: &UserId,
    erase: bool,
    mut change: Change,
) -> Result<(), DeactivateError> {
    let account = names::account(engine, user).await?;
    if account.is_none_or(|account| account.deactivated_ts.is_some()) {
        return Err(DeactivateError::NotFound);
    }
    let user_id = user.to_string();
    change.claim(Claim::Password { user_id: user_id.clone(), hash: None });
    let flag = flags::ADMIN;
    change.write(accounts::Write::Flag { user_id: user_id.clone(), flag, on: false });
    if erase {
        forget(&mut change, user);
    }
    change.write(delayed_events::Write::RemoveAll { user_id: user_id.clone() });
    change.write(accounts::Write::Deactivate { user_id, ts: engine.clock.now_ms() });
    change.write(account_data::Write::RemoveProfile { user_id: user.to_string() });
    directory::follow::remove(&mut change, user);
    let remove = threepids::Write::RemoveAll { user_id: user.to_string() };
    change.write(accounts::Write::Threepid(remove));
    encryption::signing::forget(&mut change, user);
    devices::remove_all(engine, &mut change, user, None).await?;
    follow::leave_rooms(&mut change, user);
    match engine.storage.commit(change).await {
        Ok(_) => {
            tokens::revoked(engine);
            follow::wake(engine);
            Ok(())
        }
        Err(CommitError::UsedUp) => Err(DeactivateError::UsedUp),
        Err(error) => Err(Internal::from(error).into()),
    }
}

/// Erases what there is of a user whose account was closed without that.
pub(crate) async fn erase(engine: &Engine, user: &UserId) -> Result<(), Internal> {
    let mut change = Change::new();
    forget(&mut change, user);
    engine.storage.commit(change).await?;
    Ok(())
}

fn forget(change: &mut Change, user: &UserId) {
    let user_id = user.to_string();
    let flag = flags::ERASED;
    change.write(accounts::Write::Flag { user_id: user_id.clone(), flag, on: true });
    change.write(account_data::Write::RemoveAll { user_id: user_id.clone() });
    change.write(subscriptions::Write::RemoveAll { user_id });
}
