//! Whether a server may ask about a room at all.

use ruma::{EventId, RoomId, ServerName};
use starling_storage::{rooms, state};

use super::{ReadError, template::Wish};
use crate::{
    Engine,
    events::store,
    internal::Internal,
    rooms::{partial, room, server_acl::ServerAcl},
};

/// The access control list of a room as it is now; `None` when it has none.
///
/// # Errors
///
/// When the database fails.
pub async fn server_acl(engine: &Engine, room_id: &RoomId) -> Result<Option<ServerAcl>, Internal> {
    let mut conn = engine.storage.read().await?;
    let event_id = state::current(&mut conn, room_id.as_str(), "m.room.server_acl", "").await?;
    drop(conn);
    let Some(event_id) = event_id else { return Ok(None) };
    let event_id = <&EventId>::try_from(event_id.as_str())?;
    let event = store::get(engine, room_id, event_id).await?;
    Ok(event.map(|event| ServerAcl::from_content(&event.pdu.content)))
}

/// Whether the access control list of a room lets a server take part.
///
/// # Errors
///
/// When the database fails.
pub async fn acl_allows(
    engine: &Engine,
    room_id: &RoomId,
    server: &ServerName,
) -> Result<bool, Internal> {
    Ok(server_acl(engine, room_id).await?.is_none_or(|acl| acl.allows(server)))
}

/// Whether a server has a joined member in a room.
///
/// # Errors
///
/// When the database fails.
pub async fn is_in_room(
    engine: &Engine,
    room_id: &RoomId,
    server: &ServerName,
) -> Result<bool, Internal> {
    let mut conn = engine.storage.read().await?;
    let members = rooms::server_members(&mut conn, room_id.as_str(), &[server.to_string()]).await?;
    Ok(members.iter().any(|(_, joined)| *joined > 0))
}

/// Whether this server can help another one's user to become something in a room: it is in it, and knows
/// its whole state; or it is about leaving a room that everybody else has left.
///
/// # Errors
///
/// When the database fails.
pub async fn can_help(engine: &Engine, room_id: &RoomId, wish: Wish) -> Result<bool, Internal> {
    if wish != Wish::Leave && partial::is_partial(engine, room_id).await? {
        return Ok(false);
    }
    Ok(is_in_room(engine, room_id, &engine.config.server_name).await?
        || (wish == Wish::Leave && room::is_deserted(engine, room_id).await?))
}

/// Refuses a room that is not known here, or whose access control list keeps the server out.
///
/// # Errors
///
/// [`ReadError`], each of its variants.
pub async fn require_room(
    engine: &Engine,
    origin: &ServerName,
    room_id: &RoomId,
) -> Result<(), ReadError> {
    if store::room_version(engine, room_id).await?.is_none() {
        return Err(ReadError::NotFound);
    }
    if !acl_allows(engine, room_id, origin).await? {
        return Err(ReadError::Forbidden("The room's server ACL does not allow your server"));
    }
    Ok(())
}

/// Refuses a server that has no joined member in the room.
///
/// # Errors
///
/// [`ReadError`], each of its variants.
pub async fn require_member(
    engine: &Engine,
    origin: &ServerName,
    room_id: &RoomId,
) -> Result<(), ReadError> {
    require_room(engine, origin, room_id).await?;
    if !is_in_room(engine, room_id, origin).await? {
        return Err(ReadError::Forbidden("Your server is not in the room"));
    }
    Ok(())
}
