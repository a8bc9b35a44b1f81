//! A look at a room from outside: as this server knows it, or else as others say.

use std::sync::Arc;

use ruma::{OwnedServerName, RoomId, UserId};
use starling_storage::memberships::{self, MembershipRow};

use super::{
    access::{self, Standing},
    remote::{self, Answer},
    summary::{self, Outside, Summary},
};
use crate::{Engine, internal::Internal};

/// A room that somebody looks at.
#[derive(Clone, Debug)]
pub struct Found {
    /// The room.
    pub room: Arc<Outside>,
    /// What another server told with it.
    pub answer: Option<Arc<Answer>>,
}

/// A room as this server knows it.
///
/// # Errors
///
/// When the database fails.
pub async fn own(engine: &Engine, room_id: &RoomId) -> Result<Option<Found>, Internal> {
    let room = summary::own(engine, room_id).await?;
    Ok(room.map(|room| Found { room, answer: None }))
}

/// A room as others say; servers that do not answer know nothing.
pub async fn elsewhere(
    engine: &Engine,
    room_id: &RoomId,
    via: &[OwnedServerName],
    suggested_only: bool,
) -> Option<Found> {
    let answer = remote::ask(engine, room_id, via, suggested_only).await?;
    Some(Found { room: answer.room.clone(), answer: Some(answer) })
}

/// The servers that may tell a user of a room: those that the client names, the one that invited
/// them, and the one that the room's ID names.
#[must_use]
pub fn servers(
    row: Option<&MembershipRow>,
    room_id: &RoomId,
    mut via: Vec<OwnedServerName>,
) -> Vec<OwnedServerName> {
    let inviter = row.filter(|row| row.membership == "invite");
    let inviter = inviter.and_then(|row| UserId::parse(row.sender.as_str()).ok());
    let named = room_id.server_name().map(ToOwned::to_owned);
    for server in inviter.map(|it| it.server_name().to_owned()).into_iter().chain(named) {
        if !via.contains(&server) {
            via.push(server);
        }
    }
    via
}

/// What a user is in a room, as this server knows it.
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

/// Whether a user with this membership may know of a room.
///
/// # Errors
///
/// When the database fails.
pub async fn may_know(
    engine: &Engine,
    user_id: &UserId,
    row: Option<&MembershipRow>,
    room: &Summary,
) -> Result<bool, Internal> {
    let membership = row.map(|row| row.membership.as_str());
    if let Some(decided) = access::may_know(room, Standing::of(membership)) {
        return Ok(decided);
    }
    let allowed: Vec<String> = room.allowed_room_ids.iter().map(ToString::to_string).collect();
    let mut conn = engine.storage.read().await?;
    let joined = memberships::joined_of(&mut conn, &allowed, &[user_id.to_string()]).await?;
    Ok(!joined.is_empty())
}
