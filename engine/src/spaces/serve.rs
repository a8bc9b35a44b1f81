//! What other servers are told of a space and its children.
//!
//! <https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1hierarchyroomid>

use ruma::{OwnedRoomId, RoomId, ServerName};
use serde::Serialize;
use starling_storage::memberships;

use super::{
    access::{self, Standing},
    summary::{self, Outside, Shown, Summary},
};
use crate::{
    Engine,
    internal::Internal,
    rooms::serve::{ReadError, access::is_in_room},
};

/// How many children are told of; of further ones the other server asks one by one.
const MAX_TOLD: usize = 100;

/// A space for another server.
#[derive(Clone, Debug, Serialize)]
pub struct Hierarchy {
    /// The room that was asked for.
    pub room: Shown,
    /// Its children that the server can get at.
    pub children: Vec<Summary>,
    /// Those that it cannot.
    pub inaccessible_children: Vec<OwnedRoomId>,
}

/// A room with what it lists, as far as the users of a server may know of it. Rooms that this server
/// is not in are left out: it knows nothing of them.
///
/// # Errors
///
/// [`ReadError::NotFound`] when this server is not in the room, or the other may not know of it.
pub async fn hierarchy(
    engine: &Engine,
    origin: &ServerName,
    room_id: &RoomId,
    suggested_only: bool,
) -> Result<Hierarchy, ReadError> {
    let room = summary::own(engine, room_id).await?.ok_or(ReadError::NotFound)?;
    if !may_know(engine, origin, &room).await? {
        return Err(ReadError::NotFound);
    }
    let mut hierarchy = Hierarchy {
        room: room.shown(suggested_only),
        children: Vec::new(),
        inaccessible_children: Vec::new(),
    };
    let wanted = room.children.iter().filter(|child| child.suggested || !suggested_only);
    for child in wanted.take(MAX_TOLD) {
        let Some(room) = summary::own(engine, &child.room_id).await? else { continue };
        match may_know(engine, origin, &room).await? {
            true => hierarchy.children.push(room.summary.clone()),
            false => hierarchy.inaccessible_children.push(child.room_id.clone()),
        }
    }
    Ok(hierarchy)
}

/// Whether any user of a server may know of a room.
async fn may_know(engine: &Engine, origin: &ServerName, room: &Outside) -> Result<bool, Internal> {
    let room = &room.summary;
    let from_outside = access::may_know(room, Standing::Outside);
    if from_outside == Some(true) || is_inside(engine, origin, &room.listed.room_id).await? {
        return Ok(true);
    }
    if from_outside == Some(false) {
        return Ok(false);
    }
    for room_id in &room.allowed_room_ids {
        if is_in_room(engine, room_id, origin).await? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether a user of a server is in a room or invited to it.
async fn is_inside(
    engine: &Engine,
    origin: &ServerName,
    room_id: &RoomId,
) -> Result<bool, Internal> {
    if is_in_room(engine, room_id, origin).await? {
        return Ok(true);
    }
    let mut conn = engine.storage.read().await?;
    Ok(memberships::has_invite(&mut conn, room_id.as_str(), origin.as_str()).await?)
}
