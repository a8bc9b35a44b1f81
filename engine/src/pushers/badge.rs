//! How much a user has not read in all of their rooms, for the number on an application's icon.

use ruma::UserId;
use starling_storage::memberships;

use crate::{
    Engine, Internal,
    reading::access::ignored_users,
    rooms::{membership::permission::Permission, unread},
};

/// The number of unread messages in the rooms that a user is in, and of invites that they are shown.
///
/// # Errors
///
/// When the database fails.
pub(super) async fn unread(engine: &Engine, user_id: &UserId) -> Result<i64, Internal> {
    let mut conn = engine.storage.read().await?;
    let rooms = memberships::joined_rooms(&mut conn, user_id.as_str()).await?;
    let counts = unread::count(&mut conn, user_id, &rooms).await?;
    let messages: i64 = counts.values().map(|room| room.total().notify.max(0)).sum();
    let invites = memberships::invites(&mut conn, user_id.as_str(), 0, i64::MAX).await?;
    if invites.is_empty() {
        return Ok(messages);
    }
    let permission = Permission::read(&mut conn, user_id).await?;
    let ignored = ignored_users(&mut conn, user_id).await?;
    let shown = invites.iter().filter(|row| permission.shows(&row.sender, &ignored)).count();
    Ok(messages.saturating_add(i64::try_from(shown).unwrap_or(i64::MAX)))
}
