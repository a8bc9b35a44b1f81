//! How often single users may do something, where that is not as for everybody.

use ruma::UserId;
use starling_storage::{
    Change,
    accounts::{self, rate_limits as rows},
};

pub use starling_storage::accounts::rate_limits::RateLimitRow as RateLimit;

use super::users::{self, UserError};
use crate::{Engine, Internal, accounts::tokens};

/// What a user may do, if that is not as for everybody.
///
/// # Errors
///
/// [`UserError::NotOurs`] or [`UserError::NotFound`].
pub async fn get(engine: &Engine, user: &UserId) -> Result<Option<RateLimit>, UserError> {
    users::get(engine, user).await?;
    let mut conn = engine.storage.read().await?;
    Ok(rows::get(&mut conn, user.as_str()).await?)
}

/// Says what a user may do; with `None` that is as for everybody. It holds for the next request.
///
/// # Errors
///
/// [`UserError::NotOurs`] or [`UserError::NotFound`].
pub async fn set(
    engine: &Engine,
    user: &UserId,
    limit: Option<RateLimit>,
) -> Result<(), UserError> {
    users::get(engine, user).await?;
    let mut change = Change::new();
    let write = rows::Write { user_id: user.to_string(), limit };
    change.write(accounts::Write::RateLimit(write));
    engine.storage.commit(change).await.map_err(Internal::from)?;
    tokens::revoked(engine);
    Ok(())
}
