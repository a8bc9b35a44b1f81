//! User names: which may be given, and whom a name means.

use ruma::{OwnedUserId, UserId};
use starling_storage::accounts::{self, UserRow};

use crate::{
    Engine, Internal,
    appservices::{ApplicationService, exclusive},
};

/// How long a user id may be, in bytes.
const LONGEST_USER_ID: usize = 255;

/// Why a name cannot be given.
#[derive(Debug, thiserror::Error)]
pub enum NameError {
    /// It is not in the grammar, or too long.
    #[error("the name is not in the grammar of user names")]
    Invalid,
    /// Somebody has it, or had it.
    #[error("the name is taken")]
    Taken,
    /// Only an application service may have it, or another one than asks.
    #[error("the name is kept for an application service")]
    Exclusive,
    /// The server failed.
    #[error(transparent)]
    Internal(#[from] Internal),
}

/// The user id for a new account of that name: its capitals become small.
///
/// <https://spec.matrix.org/v1.19/appendices/#user-identifiers>
pub(crate) fn new_user_id(engine: &Engine, name: &str) -> Result<OwnedUserId, NameError> {
    let localpart = name.to_ascii_lowercase();
    let is_legal =
        |c| matches!(c, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'=' | b'-' | b'/' | b'+');
    let id = format!("@{localpart}:{}", engine.config.server_name);
    if localpart.is_empty() || !localpart.bytes().all(is_legal) || id.len() > LONGEST_USER_ID {
        return Err(NameError::Invalid);
    }
    UserId::parse(id).map_err(|_| NameError::Invalid)
}

/// The user id that a new account of that name would have now.
///
/// # Errors
///
/// [`NameError`].
pub async fn available(engine: &Engine, name: &str) -> Result<OwnedUserId, NameError> {
    available_to(engine, None, name).await
}

/// The same for who makes it: an application service, or anybody else.
pub(crate) async fn available_to(
    engine: &Engine,
    by: Option<&ApplicationService>,
    name: &str,
) -> Result<OwnedUserId, NameError> {
    let user = new_user_id(engine, name)?;
    if !exclusive::allows_user(&engine.config.appservices, by, &user) {
        return Err(NameError::Exclusive);
    }
    // Nobody speaks in the name of the server.
    let own = engine.config.server_notices.as_ref();
    if own.is_some_and(|own| own.localpart == user.localpart()) {
        return Err(NameError::Taken);
    }
    match account(engine, &user).await? {
        Some(_) => Err(NameError::Taken),
        None => Ok(user),
    }
}

/// The account of a user id of this server.
pub(crate) async fn account(engine: &Engine, user: &UserId) -> Result<Option<UserRow>, Internal> {
    let mut conn = engine.storage.read().await?;
    Ok(accounts::user(&mut conn, user.as_str()).await?)
}

/// The account that somebody means who gives a name or a user id: exactly as given, or else in
/// small letters.
pub(crate) async fn find(engine: &Engine, given: &str) -> Result<Option<UserRow>, Internal> {
    let Some(user) = user_id(engine, given) else { return Ok(None) };
    if let Some(found) = account(engine, &user).await? {
        return Ok(Some(found));
    }
    match user_id(engine, &given.to_ascii_lowercase()).filter(|small| *small != user) {
        Some(small) => account(engine, &small).await,
        None => Ok(None),
    }
}

/// The user id that a name or a user id stands for; `None` for what cannot be one of this server.
pub(crate) fn user_id(engine: &Engine, given: &str) -> Option<OwnedUserId> {
    let server = &engine.config.server_name;
    UserId::parse_with_server_name(given, server).ok().filter(|id| id.server_name() == server)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::TestEngine;

    #[tokio::test]
    async fn new_names_keep_to_the_grammar() {
        let test = TestEngine::new().await.unwrap();
        let id = |name: &str| new_user_id(&test.engine, name).map(|id| id.to_string()).ok();
        assert_eq!(id("Alice").as_deref(), Some("@alice:test"));
        assert_eq!(id("a.b_c=d-e/f+1").as_deref(), Some("@a.b_c=d-e/f+1:test"));
        for name in ["", "a b", "é", "a:b", "@a", "a\0", "a%", "ａ"] {
            assert_eq!(id(name), None, "{name:?}");
        }
        assert!(id(&"a".repeat(249)).is_some());
        assert!(id(&"a".repeat(250)).is_none());
    }

    #[tokio::test]
    async fn accounts_are_found_by_name_and_by_id() {
        let test = TestEngine::new().await.unwrap();
        test.user("alice").await.unwrap();
        for given in ["alice", "@alice:test", "Alice", "@ALICE:test"] {
            assert!(find(&test.engine, given).await.unwrap().is_some(), "{given}");
        }
        for given in ["bob", "@alice:other", "", "@", "@:test"] {
            assert!(find(&test.engine, given).await.unwrap().is_none(), "{given}");
        }
        assert!(matches!(available(&test.engine, "ALICE").await, Err(NameError::Taken)));
        available(&test.engine, "bob").await.unwrap();
    }
}
