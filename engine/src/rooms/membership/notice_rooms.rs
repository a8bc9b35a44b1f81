//! The rooms in which the server speaks to its users: an invite to one is not to be refused.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#server-notices>

use ruma::{RoomId, UserId};
use starling_storage::{admin::notices, memberships};

use super::MembershipError;
use crate::Engine;

/// Refuses that a user refuses the server's own invite. Who has joined may leave.
///
/// # Errors
///
/// [`MembershipError::ServerNotices`].
pub async fn check_may_leave(
    engine: &Engine,
    user_id: &UserId,
    room_id: &RoomId,
) -> Result<(), MembershipError> {
    let mut conn = engine.storage.read().await?;
    let own = notices::room_of(&mut conn, user_id.as_str()).await?;
    if own.is_none_or(|own| own != room_id.as_str()) {
        return Ok(());
    }
    let row = memberships::get(&mut conn, user_id.as_str(), room_id.as_str()).await?;
    match row.is_some_and(|row| row.membership == "invite") {
        true => Err(MembershipError::ServerNotices),
        false => Ok(()),
    }
}
