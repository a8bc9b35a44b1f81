//! Sending somebody out of a room, and banning.

use ruma::{RoomId, UserId, events::StateEventType, events::room::member::MembershipState};

use super::{
    MembershipError,
    content::Member,
    local::{self, Change},
};
use crate::{
    Engine,
    rooms::{batch::Batch, room, visibility::membership_of},
};

/// Who does what to whom.
#[derive(Clone, Debug)]
pub struct Removal<'a> {
    /// In which room.
    pub room_id: &'a RoomId,
    /// Who does it.
    pub sender: &'a UserId,
    /// To whom.
    pub target: &'a UserId,
    /// Why.
    pub reason: Option<String>,
}

/// Sends a user out of the room, who is in it, invited to it, or knocking on it.
///
/// # Errors
///
/// See [`MembershipError`].
pub async fn kick(engine: &Engine, removal: Removal<'_>) -> Result<(), MembershipError> {
    use MembershipState::{Invite, Join, Knock};
    match membership(engine, &removal).await? {
        Join | Invite | Knock => change(engine, removal, "leave").await,
        _ => Err(MembershipError::Forbidden("the user is not in the room".to_owned())),
    }
}

/// Bans a user.
///
/// # Errors
///
/// See [`MembershipError`].
pub async fn ban(engine: &Engine, removal: Removal<'_>) -> Result<(), MembershipError> {
    membership(engine, &removal).await?;
    change(engine, removal, "ban").await
}

/// Lifts a ban.
///
/// # Errors
///
/// See [`MembershipError`].
pub async fn unban(engine: &Engine, removal: Removal<'_>) -> Result<(), MembershipError> {
    match membership(engine, &removal).await? {
        MembershipState::Ban => change(engine, removal, "leave").await,
        _ => Err(MembershipError::Forbidden("the user is not banned".to_owned())),
    }
}

/// What the target is in the room, which this server must be in.
async fn membership(
    engine: &Engine,
    removal: &Removal<'_>,
) -> Result<MembershipState, MembershipError> {
    let outside = || MembershipError::Forbidden("you are not in this room".to_owned());
    local::wait_for_members(engine, removal.room_id).await?;
    let room = room::load(engine, removal.room_id).await?.ok_or_else(outside)?;
    let key = (StateEventType::RoomMember, removal.target.to_string());
    let batch = Batch::new(engine, &room);
    let state = batch.state(room.row.current_state, std::slice::from_ref(&key)).await?;
    Ok(membership_of(state.get(&key).map(|event| &**event)))
}

async fn change(
    engine: &Engine,
    removal: Removal<'_>,
    membership: &str,
) -> Result<(), MembershipError> {
    let Removal { room_id, sender, target, reason } = removal;
    let member = Member { reason, ..Member::default() };
    local::change(engine, Change { room_id, sender, target, membership, member }).await?;
    Ok(())
}
