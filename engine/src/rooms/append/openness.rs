//! Whether anybody may join or read the room: its members can be found in the user directory then.

use ruma::events::StateEventType;
use starling_storage::user_directory::Write;

use super::state::StateChange;
use crate::{
    internal::Internal,
    rooms::{batch::Batch, visibility::visibility_of},
};

const DECISIVE: [StateEventType; 2] =
    [StateEventType::RoomJoinRules, StateEventType::RoomHistoryVisibility];

/// Notes whether the room is open, when what decides it has changed.
pub(super) async fn follow(batch: &mut Batch, change: &StateChange) -> Result<(), Internal> {
    let decides = |key: &(StateEventType, String)| DECISIVE.contains(&key.0) && key.1.is_empty();
    if !change.changed.iter().any(|changed| decides(&changed.key)) {
        return Ok(());
    }
    let open = is_open(batch).await?;
    batch.change.write(Write::Room { room_id: batch.room.id.to_string(), open });
    Ok(())
}

/// Whether anybody may join or read the room as it is now.
///
/// # Errors
///
/// When the database fails.
pub async fn is_open(batch: &Batch) -> Result<bool, Internal> {
    let keys = DECISIVE.map(|kind| (kind, String::new()));
    let state = batch.state(batch.room.row.current_state, &keys).await?;
    let [join_rules, visibility] = keys.map(|key| state.get(&key).map(|event| &**event));
    let rule = join_rules.and_then(|event| event.content_str("join_rule"));
    Ok(rule.as_deref() == Some("public") || visibility_of(visibility).as_str() == "world_readable")
}
