//! One room from outside: the room summary.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1room_summaryroomidoralias>

use ruma::{OwnedServerName, RoomId, UserId};
use serde::Serialize;
use starling_storage::memberships::MembershipRow;

use super::{
    access::{self, Standing},
    look, stripped,
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

/// A room as a user may know it; `None` when they may not, or nobody knows the room. Where no server
/// answers, what came with an invite or a knock has to do.
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
    let row = look::membership(engine, user_id, room_id).await?;
    let found = match look::own(engine, room_id).await? {
        None => {
            let via = look::servers(row.as_ref(), room_id, via);
            look::elsewhere(engine, room_id, &via, false).await
        }
        own => own,
    };
    let summary = match found {
        Some(found) => Some(found.room.summary.clone()),
        None => row.as_ref().and_then(|row| as_invited(room_id, row)),
    };
    let Some(summary) = summary else { return Ok(None) };
    if !look::may_know(engine, user_id, row.as_ref(), &summary).await? {
        return Ok(None);
    }
    let membership = row.map_or_else(|| "leave".to_owned(), |row| row.membership);
    Ok(Some(Overview { summary, membership: Some(membership) }))
}

/// What is kept of a room to which a user is invited or at which they knock.
fn as_invited(room_id: &RoomId, row: &MembershipRow) -> Option<Summary> {
    let is_outside = matches!(row.membership.as_str(), "invite" | "knock");
    let stripped = row.stripped_state.as_deref().filter(|_| is_outside)?;
    stripped::summary(room_id, stripped)
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
