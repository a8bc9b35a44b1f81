//! Forgetting a room that one is not in any more.

use ruma::{RoomId, UserId};
use starling_storage::{Change, memberships};

use super::{MembershipError, local};
use crate::{Engine, Internal};

/// Forgets a room: its history is not shown to the user any more.
///
/// # Errors
///
/// [`MembershipError::StillInRoom`] or [`MembershipError::UnknownRoom`].
pub async fn forget(
    engine: &Engine,
    user_id: &UserId,
    room_id: &RoomId,
) -> Result<(), MembershipError> {
    let row = local::membership(engine, user_id, room_id).await?;
    let row = row.ok_or(MembershipError::UnknownRoom)?;
    if !matches!(row.membership.as_str(), "leave" | "ban") {
        return Err(MembershipError::StillInRoom);
    }
    let mut change = Change::new();
    let (user_id, room_id) = (user_id.to_string(), room_id.to_string());
    change.write(memberships::Write::Forget { user_id, room_id });
    engine.storage.commit(change).await.map_err(Internal::from)?;
    Ok(())
}
