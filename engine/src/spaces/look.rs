//! A look at a room from outside: as this server knows it, or else as others say.

use std::sync::Arc;

use ruma::{OwnedServerName, RoomId, UserId};
use starling_storage::memberships;

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

/// Finds a room: this server's own knowledge goes before that of others.
///
/// # Errors
///
/// When the database fails; servers that do not answer know nothing.
pub async fn find(
    engine: &Engine,
    room_id: &RoomId,
    via: &[OwnedServerName],
    suggested_only: bool,
) -> Result<Option<Found>, Internal> {
    if let Some(room) = summary::own(engine, room_id).await? {
        return Ok(Some(Found { room, answer: None }));
    }
    let answer = remote::ask(engine, room_id, via, suggested_only).await;
    Ok(answer.map(|answer| Found { room: answer.room.clone(), answer: Some(answer) }))
}

/// The servers that may tell a user of a room: those that the client names, the one that invited
/// them, and the one that the room's ID names.
///
/// # Errors
///
/// When the database fails.
pub async fn servers(
    engine: &Engine,
    user_id: &UserId,
    room_id: &RoomId,
    mut via: Vec<OwnedServerName>,
) -> Result<Vec<OwnedServerName>, Internal> {
    let mut conn = engine.storage.read().await?;
    let row = memberships::get(&mut conn, user_id.as_str(), room_id.as_str()).await?;
    drop(conn);
    let inviter = row.filter(|row| row.membership == "invite").map(|row| row.sender);
    let inviter = inviter.and_then(|sender| UserId::parse(sender).ok());
    let named = room_id.server_name().map(ToOwned::to_owned);
    for server in inviter.map(|it| it.server_name().to_owned()).into_iter().chain(named) {
        if !via.contains(&server) {
            via.push(server);
        }
    }
    Ok(via)
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
) -> Result<Option<String>, Internal> {
    let mut conn = engine.storage.read().await?;
    let row = memberships::get(&mut conn, user_id.as_str(), room_id.as_str()).await?;
    Ok(row.map(|row| row.membership))
}

/// Whether a user with this membership may know of a room.
///
/// # Errors
///
/// When the database fails.
pub async fn may_know(
    engine: &Engine,
    user_id: &UserId,
    membership: Option<&str>,
    room: &Summary,
) -> Result<bool, Internal> {
    if let Some(decided) = access::may_know(room, Standing::of(membership)) {
        return Ok(decided);
    }
    let allowed: Vec<String> = room.allowed_room_ids.iter().map(ToString::to_string).collect();
    let mut conn = engine.storage.read().await?;
    let joined = memberships::joined_of(&mut conn, &allowed, &[user_id.to_string()]).await?;
    Ok(!joined.is_empty())
}
