//! What other servers may know of our users.

use std::collections::BTreeMap;

use ruma::UserId;
use serde_json::value::RawValue;
use starling_storage::{account_data, accounts};

use crate::{Engine, appservices::queries, internal::Internal};

/// The profile of a user of ours, or one field of it; `None` for anybody else.
///
/// # Errors
///
/// When the database fails.
pub async fn profile(
    engine: &Engine,
    user_id: &UserId,
    field: Option<&str>,
) -> Result<Option<BTreeMap<String, Box<RawValue>>>, Internal> {
    if user_id.server_name() != engine.config.server_name {
        return Ok(None);
    }
    queries::ensure_user(engine, user_id).await?;
    let mut conn = engine.storage.read().await?;
    let user = accounts::user(&mut conn, user_id.as_str()).await?;
    if user.is_none_or(|user| user.deactivated_ts.is_some()) {
        return Ok(None);
    }
    let fields = account_data::profile(&mut conn, user_id.as_str()).await?;
    let wanted = fields.into_iter().filter(|(name, _)| field.is_none_or(|field| field == name));
    let wanted = wanted.map(|(name, value)| Ok((name, RawValue::from_string(value)?)));
    wanted.collect::<Result<_, Internal>>().map(Some)
}
