//! Suspending and locking accounts, as their server's administrators do.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#account-locking>,
//! <https://spec.matrix.org/v1.19/client-server-api/#account-suspension>

use ruma::UserId;
use starling_storage::{
    Change,
    accounts::{self, UserRow, flags},
};

use super::{Session, names, tokens};
use crate::{Engine, Internal};

/// What can be laid on an account, and taken from it again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Restriction {
    /// The user may read, and do little else.
    Suspended,
    /// Everything but logging out is refused.
    Locked,
}

impl Restriction {
    fn flag(self) -> i16 {
        match self {
            Self::Suspended => flags::SUSPENDED,
            Self::Locked => flags::LOCKED,
        }
    }
}

/// Why a restriction is neither shown nor changed.
#[derive(Debug, thiserror::Error)]
pub enum ModerationError {
    /// Who asks does not administer this server. Nothing was looked up.
    #[error("you do not administer this server")]
    NotAdmin,
    /// The user is of another server.
    #[error("the user is of another server")]
    NotLocal,
    /// There is no such account, or it is deactivated.
    #[error("there is no such account")]
    NotFound,
    /// Administrators do not restrict each other.
    #[error("the user administers this server too")]
    OtherAdmin,
    /// Nobody restricts themselves.
    #[error("this is your own account")]
    OwnAccount,
    /// The server failed.
    #[error(transparent)]
    Internal(#[from] Internal),
}

/// Whether an account is restricted in that way.
///
/// # Errors
///
/// [`ModerationError`].
pub async fn is_restricted(
    engine: &Engine,
    asking: &Session,
    user: &UserId,
    restriction: Restriction,
) -> Result<bool, ModerationError> {
    let account = find(engine, asking, user).await?;
    if user != asking.user_id && account.flags & flags::ADMIN != 0 {
        return Err(ModerationError::OtherAdmin);
    }
    Ok(account.flags & restriction.flag() != 0)
}

/// Restricts an account in that way, or does so no more.
///
/// # Errors
///
/// [`ModerationError`].
pub async fn restrict(
    engine: &Engine,
    asking: &Session,
    user: &UserId,
    restriction: Restriction,
    on: bool,
) -> Result<(), ModerationError> {
    let account = find(engine, asking, user).await?;
    if user == asking.user_id {
        return Err(ModerationError::OwnAccount);
    }
    if account.flags & flags::ADMIN != 0 {
        return Err(ModerationError::OtherAdmin);
    }
    Ok(set_flag(engine, user, restriction.flag(), on).await?)
}

/// Sets or clears a flag of an account, which holds for its next request.
pub(crate) async fn set_flag(
    engine: &Engine,
    user: &UserId,
    flag: i16,
    on: bool,
) -> Result<(), Internal> {
    let mut change = Change::new();
    change.write(accounts::Write::Flag { user_id: user.to_string(), flag, on });
    engine.storage.commit(change).await?;
    tokens::revoked(engine);
    Ok(())
}

/// Who may ask is found out first: nobody else learns which accounts there are.
async fn find(
    engine: &Engine,
    asking: &Session,
    user: &UserId,
) -> Result<UserRow, ModerationError> {
    if !asking.is_admin() {
        return Err(ModerationError::NotAdmin);
    }
    if user.server_name() != engine.config.server_name {
        return Err(ModerationError::NotLocal);
    }
    let account = names::account(engine, user).await?;
    account.filter(|account| account.deactivated_ts.is_none()).ok_or(ModerationError::NotFound)
}

#[cfg(test)]
mod tests {
    use ruma::user_id;

    use super::*;
    use crate::{
        accounts::{admin, devices::NewDevice, login, tokens::authenticate},
        testing::{TestEngine, on_each_database},
    };

    async fn admin_session(test: &TestEngine) -> Session {
        let engine = &test.engine;
        let password = Some("secret".to_owned());
        admin::create_user(engine, "root", password, true).await.unwrap();
        let device = NewDevice::default();
        let entered = login::with_password(engine, &"root".into(), "secret".to_owned(), device)
            .await
            .unwrap();
        authenticate(engine, &entered.tokens.access_token).await.unwrap()
    }

    #[tokio::test]
    async fn restrictions_come_and_go_apart_from_each_other() {
        on_each_database(async |test| {
            let engine = &test.engine;
            let root = admin_session(&test).await;
            let (alice, issued) = test.user("alice").await.unwrap();
            let session = async || authenticate(engine, &issued.access_token).await.unwrap();
            for (restriction, on, suspended, locked) in [
                (Restriction::Suspended, true, true, false),
                (Restriction::Locked, true, true, true),
                (Restriction::Locked, true, true, true),
                (Restriction::Suspended, false, false, true),
                (Restriction::Locked, false, false, false),
            ] {
                restrict(engine, &root, &alice, restriction, on).await.unwrap();
                assert_eq!(is_restricted(engine, &root, &alice, restriction).await.unwrap(), on);
                let session = session().await;
                assert_eq!((session.is_suspended(), session.is_locked()), (suspended, locked));
            }
            test
        })
        .await
        .unwrap();
    }

    #[tokio::test]
    async fn who_may_not_ask_learns_nothing_about_accounts() {
        on_each_database(async |test| {
            let engine = &test.engine;
            let root = admin_session(&test).await;
            let (alice, issued) = test.user("alice").await.unwrap();
            let alice_asks = authenticate(engine, &issued.access_token).await.unwrap();
            let set = async |by: &Session, user: &UserId| {
                restrict(engine, by, user, Restriction::Locked, true).await.unwrap_err()
            };
            for user in [&*alice, user_id!("@nobody:test"), user_id!("@x:elsewhere")] {
                assert!(matches!(set(&alice_asks, user).await, ModerationError::NotAdmin));
            }
            assert!(matches!(
                set(&root, user_id!("@x:elsewhere")).await,
                ModerationError::NotLocal
            ));
            assert!(matches!(
                set(&root, user_id!("@nobody:test")).await,
                ModerationError::NotFound
            ));
            assert!(matches!(set(&root, &root.user_id).await, ModerationError::OwnAccount));
            let other = admin::create_user(engine, "other", None, true).await.unwrap();
            assert!(matches!(set(&root, &other).await, ModerationError::OtherAdmin));
            test
        })
        .await
        .unwrap();
    }
}
