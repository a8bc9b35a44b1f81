//! Filters that clients store, to name them by a short ID.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ruma::UserId;
use sha2::{Digest as _, Sha256};
use starling_storage::{Change, account_data};

use crate::{
    Engine, Internal,
    reading::filter::{BadFilter, Filter},
};

/// How many filters a user may store.
pub const MOST: i64 = 1_000;

/// Why a filter is not stored.
#[derive(Debug, thiserror::Error)]
pub enum StoreFilterError {
    /// It is not a filter.
    #[error(transparent)]
    Bad(#[from] BadFilter),
    /// The user has stored too many already.
    #[error("more than {MOST} filters")]
    TooMany,
    /// The server failed.
    #[error(transparent)]
    Internal(#[from] Internal),
}

impl From<starling_storage::DbError> for StoreFilterError {
    fn from(error: starling_storage::DbError) -> Self {
        Self::Internal(error.into())
    }
}

/// Stores a filter as it was sent, and returns its ID: the same for the same filter.
///
/// # Errors
///
/// [`StoreFilterError`].
pub async fn store(
    engine: &Engine,
    user_id: &UserId,
    json: &str,
) -> Result<String, StoreFilterError> {
    Filter::parse(json)?;
    let hash = Sha256::digest(json.as_bytes());
    let id = URL_SAFE_NO_PAD.encode(hash.get(..12).unwrap_or_default());
    let mut conn = engine.storage.read().await?;
    if account_data::filter(&mut conn, user_id.as_str(), &id).await?.is_some() {
        return Ok(id);
    }
    if account_data::filter_count(&mut conn, user_id.as_str()).await? >= MOST {
        return Err(StoreFilterError::TooMany);
    }
    drop(conn);
    let mut change = Change::new();
    change.write(account_data::Write::Filter {
        user_id: user_id.to_string(),
        filter_id: id.clone(),
        json: json.to_owned(),
    });
    engine.storage.commit(change).await.map_err(Internal::from)?;
    Ok(id)
}

/// A stored filter, as it was sent.
///
/// # Errors
///
/// When the database fails.
pub async fn get(
    engine: &Engine,
    user_id: &UserId,
    filter_id: &str,
) -> Result<Option<String>, Internal> {
    let mut conn = engine.storage.read().await?;
    Ok(account_data::filter(&mut conn, user_id.as_str(), filter_id).await?)
}
