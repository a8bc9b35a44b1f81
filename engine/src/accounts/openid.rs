//! OpenID tokens: by them a user proves to a third party who they are, and nothing else.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#openid>

use std::time::Duration;

use ruma::{OwnedUserId, UserId};
use starling_storage::{
    Change,
    accounts::{
        self,
        passes::{self as rows, Kind, PassRow, Write},
    },
};

use super::tokens::Hash;
use crate::{Engine, Internal, rng};

/// How long a token is valid.
pub const LIFETIME: Duration = Duration::from_secs(60 * 60);

/// Makes a token for a user, valid for [`LIFETIME`].
///
/// # Errors
///
/// When the server fails.
pub async fn issue(engine: &Engine, user_id: &UserId) -> Result<String, Internal> {
    let token = rng::token::<32>();
    let lifetime = i64::try_from(LIFETIME.as_millis()).unwrap_or(i64::MAX);
    let mut change = Change::new();
    let row = PassRow {
        token_hash: Hash::of(&token).to_vec(),
        user_id: user_id.to_string(),
        expires_ts: engine.clock.now_ms().saturating_add(lifetime),
    };
    change.write(accounts::Write::Pass(Write { kind: Kind::OpenId, row }));
    engine.storage.commit(change).await?;
    Ok(token)
}

/// Whose token this is; `None` when it is nobody's (any more).
///
/// # Errors
///
/// When the database fails.
pub async fn user_of(engine: &Engine, token: &str) -> Result<Option<OwnedUserId>, Internal> {
    let mut conn = engine.storage.read().await?;
    let row = rows::get(&mut conn, Kind::OpenId, &Hash::of(token).to_vec()).await?;
    let Some(row) = row.filter(|row| engine.clock.now_ms() < row.expires_ts) else {
        return Ok(None);
    };
    let account = accounts::user(&mut conn, &row.user_id).await?;
    let flags = accounts::flags::LOCKED;
    let account = account.filter(|it| it.deactivated_ts.is_none() && it.flags & flags == 0);
    Ok(account.map(|it| it.user_id.try_into()).transpose()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::on_each_database;

    #[tokio::test]
    async fn a_token_names_its_user_for_an_hour() {
        on_each_database(async |test| {
            let engine = &test.engine;
            let (alice, issued) = test.user("alice").await.unwrap();
            let first = issue(engine, &alice).await.unwrap();
            let second = issue(engine, &alice).await.unwrap();
            assert_ne!(first, second);
            for token in [&first, &second] {
                assert_eq!(user_of(engine, token).await.unwrap().as_ref(), Some(&alice));
            }
            for wrong in ["", "x", &issued.access_token] {
                assert_eq!(user_of(engine, wrong).await.unwrap(), None);
            }
            assert!(super::super::tokens::authenticate(engine, &first).await.is_err());
            test.clock.advance(60 * 60 * 1_000 - 1);
            assert!(user_of(engine, &first).await.unwrap().is_some());
            test.clock.advance(1);
            assert_eq!(user_of(engine, &first).await.unwrap(), None);
            let third = issue(engine, &alice).await.unwrap();
            let mut change = Change::new();
            change.write(accounts::Write::Deactivate { user_id: alice.to_string(), ts: 1 });
            engine.storage.commit(change).await.unwrap();
            assert_eq!(user_of(engine, &third).await.unwrap(), None);
            test
        })
        .await
        .unwrap();
    }
}
