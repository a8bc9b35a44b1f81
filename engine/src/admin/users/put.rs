//! Making an account as it is to be, or changing one.

use ruma::UserId;
use starling_storage::{
    Change,
    accounts::{self, flags},
    admin::Write,
};

use super::{Right, UserError, deactivate, get, set, set_password};
use crate::{
    Engine, Internal,
    accounts::{
        directory, names, profiles,
        register::{self, NewAccount, RegisterError},
        threepids,
    },
};

/// How an account is to be. `None` leaves something as it is.
#[derive(Clone, Debug, Default)]
pub struct Put {
    /// The password.
    pub password: Option<String>,
    /// Whether a new password ends all sessions.
    pub log_out: bool,
    /// The display name; an empty one takes it away.
    pub display_name: Option<String>,
    /// The avatar; an empty one takes it away.
    pub avatar_url: Option<String>,
    /// The e-mail addresses, in place of those that it has.
    pub emails: Option<Vec<String>>,
    /// Whether it administers this server.
    pub admin: Option<bool>,
    /// Whether it is closed.
    pub deactivated: Option<bool>,
    /// Whether it is locked.
    pub locked: Option<bool>,
}

/// Makes an account as it is to be, or changes one. Says whether it was made.
///
/// # Errors
///
/// [`UserError`]. What comes before the failure in the order of [`Put`] was done.
pub async fn put(
    engine: &Engine,
    by: &UserId,
    user: &UserId,
    wanted: Put,
) -> Result<bool, UserError> {
    let has_emails = wanted.emails.as_ref().is_some_and(|emails| !emails.is_empty());
    if wanted.deactivated == Some(true) && (wanted.password.is_some() || has_emails) {
        return Err(UserError::Contradiction("a closed account has no password and no addresses"));
    }
    let account = match get(engine, user).await {
        Ok(account) => account,
        Err(UserError::NotFound) => {
            make(engine, user, &wanted).await?;
            change(engine, by, user, Put { password: None, admin: None, ..wanted }).await?;
            return Ok(true);
        }
        Err(error) => return Err(error),
    };
    if account.is_deactivated && wanted.deactivated == Some(false) {
        reactivate(engine, user).await?;
    } else if account.is_deactivated && (wanted.password.is_some() || has_emails) {
        return Err(UserError::Contradiction("the account is closed"));
    }
    let deactivated = wanted.deactivated.filter(|wanted| *wanted && !account.is_deactivated);
    change(engine, by, user, Put { deactivated, ..wanted }).await?;
    Ok(false)
}

async fn make(engine: &Engine, user: &UserId, wanted: &Put) -> Result<(), UserError> {
    let id = names::new_user_id(engine, user.localpart()).map_err(RegisterError::from)?;
    if id != *user {
        return Err(RegisterError::Name(names::NameError::Invalid).into());
    }
    let new = NewAccount {
        name: Some(user.localpart().to_owned()),
        password: wanted.password.clone(),
        admin: wanted.admin.unwrap_or_default(),
        ..NewAccount::default()
    };
    register::make(engine, new, Change::new()).await?;
    Ok(())
}

async fn change(engine: &Engine, by: &UserId, user: &UserId, wanted: Put) -> Result<(), UserError> {
    if let Some(password) = wanted.password {
        set_password(engine, user, password, wanted.log_out).await?;
    }
    if let Some(emails) = wanted.emails {
        threepids::replace(engine, user, &emails).await?;
    }
    for (field, value) in [("displayname", wanted.display_name), ("avatar_url", wanted.avatar_url)]
    {
        if let Some(value) = value {
            profiles::set_field(engine, user, field, value.into()).await?;
        }
    }
    if let Some(admin) = wanted.admin {
        set(engine, Some(by), user, Right::Admin, admin).await?;
    }
    if let Some(locked) = wanted.locked {
        set(engine, Some(by), user, Right::Locked, locked).await?;
    }
    if wanted.deactivated == Some(true) {
        deactivate(engine, user, false).await?;
    }
    Ok(())
}

async fn reactivate(engine: &Engine, user: &UserId) -> Result<(), UserError> {
    let mut change = Change::new();
    let user_id = user.to_string();
    let flag = flags::ERASED;
    change.write(accounts::Write::Flag { user_id: user_id.clone(), flag, on: false });
    change.write(Write::Reactivate { user_id });
    // Its profile is gone, so there are the words of its name only.
    directory::follow::name(&mut change, user, None);
    engine.storage.commit(change).await.map_err(Internal::from)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use ruma::server_name;

    use super::*;
    use crate::{
        accounts::{admin, directory::search, threepids::AddError},
        config::UserDirectory,
        testing::{config, on_each_database_with},
    };

    fn open_directory() -> crate::Config {
        let user_directory = UserDirectory { enabled: true, search_all_users: true };
        crate::Config { user_directory, ..config(server_name!("test")) }
    }

    #[tokio::test]
    async fn a_closed_account_can_be_erased_and_one_that_is_open_again_is_found() {
        on_each_database_with(open_directory(), async |test| {
            let engine = &test.engine;
            let (root, _) = test.user("root").await.unwrap();
            let (alice, _) = test.user("alice").await.unwrap();
            let found = async || {
                let found = search::search(engine, &root, "alice", None).await.unwrap();
                found.results.len()
            };
            assert_eq!(found().await, 1);
            deactivate(engine, &alice, false).await.unwrap();
            assert!(!get(engine, &alice).await.unwrap().is_erased);
            deactivate(engine, &alice, true).await.unwrap();
            assert!(get(engine, &alice).await.unwrap().is_erased);
            assert_eq!(found().await, 0);
            let open = Put { deactivated: Some(false), ..Put::default() };
            put(engine, &root, &alice, open).await.unwrap();
            let account = get(engine, &alice).await.unwrap();
            assert!(!account.is_deactivated && !account.is_erased);
            assert_eq!(found().await, 1);
            test
        })
        .await
        .unwrap();
    }

    #[tokio::test]
    async fn administrators_restrict_each_other_only_after_taking_the_right_away() {
        on_each_database_with(open_directory(), async |test| {
            let engine = &test.engine;
            let root = admin::create_user(engine, "root", None, true).await.unwrap();
            let other = admin::create_user(engine, "other", None, true).await.unwrap();
            for right in [Right::Locked, Right::Suspended] {
                let refused = set(engine, Some(&root), &other, right, true).await;
                assert!(matches!(refused, Err(UserError::OtherAdmin)), "{right:?}");
                set(engine, None, &other, right, true).await.unwrap();
                set(engine, None, &other, right, false).await.unwrap();
            }
            let demoted = Put { admin: Some(false), locked: Some(true), ..Put::default() };
            put(engine, &root, &other, demoted).await.unwrap();
            assert!(get(engine, &other).await.unwrap().is_locked);
            test
        })
        .await
        .unwrap();
    }

    #[tokio::test]
    async fn a_list_of_addresses_takes_the_place_of_those_that_were_there() {
        on_each_database_with(open_directory(), async |test| {
            let engine = &test.engine;
            let (alice, _) = test.user("alice").await.unwrap();
            let (bob, _) = test.user("bob").await.unwrap();
            let give = async |user: &UserId, emails: &[&str]| {
                let emails = Some(emails.iter().map(|it| (*it).to_owned()).collect());
                put(engine, &bob, user, Put { emails, ..Put::default() }).await
            };
            let has = async |user: &UserId| -> Vec<String> {
                let list = threepids::list(engine, user).await.unwrap();
                list.into_iter().map(|it| it.address).collect()
            };
            give(&alice, &["A@x.org", "b@x.org"]).await.unwrap();
            give(&alice, &["b@x.org", "c@x.org"]).await.unwrap();
            assert_eq!(has(&alice).await, ["b@x.org", "c@x.org"]);
            let taken = give(&bob, &["d@x.org", "c@x.org"]).await;
            assert!(matches!(taken, Err(UserError::Threepids(AddError::InUse))));
            let bad = give(&bob, &["d@x.org", "c"]).await;
            assert!(matches!(bad, Err(UserError::Threepids(AddError::BadAddress))));
            assert!(has(&bob).await.is_empty());
            give(&alice, &[]).await.unwrap();
            assert!(has(&alice).await.is_empty());
            deactivate(engine, &alice, false).await.unwrap();
            let closed = give(&alice, &["a@x.org"]).await;
            assert!(matches!(closed, Err(UserError::Contradiction(_))));
            test
        })
        .await
        .unwrap();
    }
}
