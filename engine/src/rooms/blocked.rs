//! Rooms that the administrators have blocked: nobody of this deployment gets into them.

use ruma::RoomId;
use starling_storage::{
    Change,
    admin::{
        Write,
        blocked::{self, Block},
    },
};

use super::membership::MembershipError;
use crate::{Engine, Internal};

/// Who blocked a room; `None`: it is not blocked.
///
/// # Errors
///
/// When the database fails.
pub async fn by_whom(engine: &Engine, room_id: &RoomId) -> Result<Option<String>, Internal> {
    let mut conn = engine.storage.read().await?;
    Ok(blocked::by_whom(&mut conn, room_id.as_str()).await?)
}

/// Blocks a room in the name of somebody, or lets it be joined again.
///
/// # Errors
///
/// When the database fails.
pub async fn set(engine: &Engine, room_id: &RoomId, by: Option<&str>) -> Result<(), Internal> {
    let mut change = Change::new();
    let by = by.map(|user| (user.to_owned(), engine.clock.now_ms()));
    change.write(Write::Block(Block { room_id: room_id.to_string(), by }));
    engine.storage.commit(change).await?;
    Ok(())
}

/// Refuses to let somebody into a blocked room.
///
/// # Errors
///
/// [`MembershipError::Forbidden`].
pub async fn check(engine: &Engine, room_id: &RoomId) -> Result<(), MembershipError> {
    match by_whom(engine, room_id).await? {
        None => Ok(()),
        Some(_) => {
            let reason = "this room is blocked on this server";
            Err(MembershipError::Forbidden(reason.to_owned()))
        }
    }
}
