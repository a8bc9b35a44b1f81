//! Users who asked at deactivation that what they said be erased.
//!
//! Nothing is redacted in the room: who was in it when a message was sent sees it as before. Whoever was
//! not gets what redaction would leave of it.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3accountdeactivate>

use std::collections::HashSet;

use ruma::{OwnedUserId, UserId};
use starling_storage::accounts;

use crate::{Engine, Internal};

/// Which of these users are erased; only users of this server can be.
///
/// # Errors
///
/// When the database fails.
pub async fn erased<'a>(
    engine: &Engine,
    users: impl Iterator<Item = &'a UserId>,
) -> Result<HashSet<OwnedUserId>, Internal> {
    let own = &engine.config.server_name;
    let local: HashSet<&UserId> = users.filter(|user| user.server_name() == own).collect();
    if local.is_empty() {
        return Ok(HashSet::new());
    }
    let local: Vec<String> = local.into_iter().map(ToString::to_string).collect();
    let mut conn = engine.storage.read().await?;
    let erased = accounts::erased(&mut conn, &local).await?;
    Ok(erased.into_iter().map(UserId::parse).collect::<Result<_, _>>()?)
}
