//! `timestamp_to_event`: the event that is closest to a moment.

use ruma::{RoomId, ServerName, api::Direction};

use super::{ReadError, access, visible::Eyes};
use crate::{
    Engine,
    events::store,
    reading::moments::{Moment, Walk},
};

/// The event of a room that is closest to a time and that the server may see.
///
/// # Errors
///
/// [`ReadError::NotFound`] also when there is none.
pub async fn closest(
    engine: &Engine,
    origin: &ServerName,
    room_id: &RoomId,
    ts: i64,
    direction: Direction,
) -> Result<Moment, ReadError> {
    access::require_member(engine, origin, room_id).await?;
    let version = store::room_version(engine, room_id).await?.ok_or(ReadError::NotFound)?;
    let eyes = Eyes::of(engine, origin, room_id).await?;
    let mut walk = Walk::new(engine, room_id, ts, direction);
    while let Some((row, _)) = walk.next().await? {
        let event = store::remember(engine, row, &version.1)?;
        if eyes.may_see(&event).await? {
            return Ok(Moment::of(&event.pdu));
        }
    }
    Err(ReadError::NotFound)
}
