//! Membership events of rooms that this server is in.

use std::time::Duration;

use ruma::{OwnedEventId, OwnedUserId, RoomId, UserId, events::TimelineEventType};
use starling_storage::{
    memberships::{self, MembershipRow},
    rooms,
};

use super::{MembershipError, content::Member};
use crate::{
    Engine,
    internal::Internal,
    rooms::{build::Draft, partial, send},
};

/// How long who changes what somebody else is in a room waits for its members.
const PATIENCE: Duration = Duration::from_secs(60);

/// Whether a user of this server is joined, so that the server knows what happens in the room.
///
/// # Errors
///
/// When the database fails.
pub async fn is_resident(engine: &Engine, room_id: &RoomId) -> Result<bool, Internal> {
    let own = [engine.config.server_name.to_string()];
    let mut conn = engine.storage.read().await?;
    let counts = rooms::server_members(&mut conn, room_id.as_str(), &own).await?;
    Ok(counts.iter().any(|(_, joined)| *joined > 0))
}

/// Waits for the members of a room that was joined without them: what somebody else is in it cannot be
/// changed before it is known.
///
/// # Errors
///
/// [`MembershipError::RemoteFailed`] when they do not come in time.
pub async fn wait_for_members(engine: &Engine, room_id: &RoomId) -> Result<(), MembershipError> {
    match partial::wait(engine, room_id, PATIENCE).await? {
        true => Ok(()),
        false => {
            let reason = "the members of the room are not known yet".to_owned();
            Err(MembershipError::RemoteFailed(reason))
        }
    }
}

/// What a user is in a room, as far as this server knows.
///
/// # Errors
///
/// When the database fails.
pub async fn membership(
    engine: &Engine,
    user_id: &UserId,
    room_id: &RoomId,
) -> Result<Option<MembershipRow>, Internal> {
    let mut conn = engine.storage.read().await?;
    Ok(memberships::get(&mut conn, user_id.as_str(), room_id.as_str()).await?)
}

/// The rooms that a user is joined to.
///
/// # Errors
///
/// When the database fails.
pub async fn joined_rooms(engine: &Engine, user_id: &UserId) -> Result<Vec<String>, Internal> {
    let mut conn = engine.storage.read().await?;
    Ok(memberships::joined_rooms(&mut conn, user_id.as_str()).await?)
}

/// A membership that a user gives themselves or somebody else.
#[derive(Clone, Debug)]
pub struct Change<'a> {
    /// In which room.
    pub room_id: &'a RoomId,
    /// Who sends the event.
    pub sender: &'a UserId,
    /// Whose membership it is.
    pub target: &'a UserId,
    /// `join`, `invite`, `knock`, `leave` or `ban`.
    pub membership: &'a str,
    /// What else the event says.
    pub member: Member,
}

impl Change<'_> {
    /// What the sender wants to say.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn draft(&self, engine: &Engine) -> Result<Draft, Internal> {
        let content = self.member.content(engine, self.target, self.membership).await?;
        let sender: OwnedUserId = self.sender.to_owned();
        let target = self.target.as_str();
        Ok(Draft::state(sender, TimelineEventType::RoomMember, target, content))
    }
}

/// Makes a membership event in a room that this server is in.
///
/// # Errors
///
/// See [`MembershipError`].
pub async fn change(engine: &Engine, change: Change<'_>) -> Result<OwnedEventId, MembershipError> {
    if change.sender != change.target {
        wait_for_members(engine, change.room_id).await?;
    }
    let draft = change.draft(engine).await?;
    Ok(send::one(engine, change.room_id, &draft, None).await?)
}
