//! One room from outside: the room summary.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1room_summaryroomidoralias>

use ruma::{OwnedServerName, RoomId, UserId};
use serde::Serialize;

use super::{
    access::{self, Standing},
    look,
    summary::{self, Summary},
};
use crate::{Engine, internal::Internal};

/// A room, and what the user who asks is in it.
#[derive(Clone, Debug, Serialize)]
pub struct Overview {
    /// The room.
    #[serde(flatten)]
    pub summary: Summary,
    /// The membership of who asks; `None` when nobody knows who that is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub membership: Option<String>,
}

/// A room as a user may know it; `None` when they may not, or nobody knows the room.
///
/// # Errors
///
/// When the database fails.
pub async fn for_user(
    engine: &Engine,
    user_id: &UserId,
    room_id: &RoomId,
    via: Vec<OwnedServerName>,
) -> Result<Option<Overview>, Internal> {
    let via = look::servers(engine, user_id, room_id, via).await?;
    let Some(found) = look::find(engine, room_id, &via, false).await? else { return Ok(None) };
    let summary = found.room.summary.clone();
    let membership = look::membership(engine, user_id, room_id).await?;
    if !look::may_know(engine, user_id, membership.as_deref(), &summary).await? {
        return Ok(None);
    }
    let membership = membership.unwrap_or_else(|| "leave".to_owned());
    Ok(Some(Overview { summary, membership: Some(membership) }))
}

/// A room of this server that everybody may know; `None` for all others. For strangers no other
/// server is asked.
///
/// # Errors
///
/// When the database fails.
pub async fn for_anybody(engine: &Engine, room_id: &RoomId) -> Result<Option<Overview>, Internal> {
    let room = summary::own(engine, room_id).await?;
    let is_open = |room: &Summary| access::may_know(room, Standing::Outside) == Some(true);
    let room = room.filter(|room| is_open(&room.summary));
    Ok(room.map(|room| Overview { summary: room.summary.clone(), membership: None }))
}
