//! A room that lets guests in no more is noted: guests of this server are to leave it.

use ruma::events::StateEventType;
use serde::Deserialize;
use serde_json::value::RawValue;
use starling_storage::accounts::{
    self,
    guest_rooms::{GuestRoomRow, Write},
};
use tokio::sync::Notify;

use super::state::StateChange;
use crate::{internal::Internal, rng, rooms::batch::Batch};

/// Wakes the task of this process that lets guests leave.
#[derive(Debug, Default)]
pub struct Wake(pub(crate) Notify);

/// Whether the room lets guests in.
///
/// # Errors
///
/// When the database fails.
pub(crate) async fn lets_in(batch: &Batch) -> Result<bool, Internal> {
    let key = (StateEventType::RoomGuestAccess, String::new());
    let state = batch.state(batch.room.row.current_state, std::slice::from_ref(&key)).await?;
    Ok(state.get(&key).is_some_and(|event| can_join(&event.content)))
}

/// Whether the content of an `m.room.guest_access` event lets guests in.
fn can_join(content: &RawValue) -> bool {
    #[derive(Deserialize)]
    struct Content {
        guest_access: String,
    }
    let content = serde_json::from_str::<Content>(content.get());
    content.is_ok_and(|content| content.guest_access == "can_join")
}

pub(super) async fn follow(batch: &mut Batch, change: &StateChange) -> Result<(), Internal> {
    let changed = change.changed.iter();
    let mut changed = changed.filter(|it| it.key.0 == StateEventType::RoomGuestAccess);
    let Some(changed) = changed.find(|it| it.key.1.is_empty()) else { return Ok(()) };
    let event = match &changed.new {
        Some(event_id) => batch.event(event_id).await?,
        None => None,
    };
    if event.is_some_and(|event| can_join(&event.pdu.content)) {
        return Ok(());
    }
    let (room_id, number) = (batch.room.id.to_string(), rng::token::<9>());
    let row = GuestRoomRow { room_id, number };
    batch.change.write(accounts::Write::GuestRoom(Write::Put(row)));
    batch.wakes_guests = true;
    Ok(())
}
