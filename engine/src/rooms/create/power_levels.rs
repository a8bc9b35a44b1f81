//! The power levels with which a room begins. Pure.

use ruma::{events::StateEventType, room_version_rules::RoomVersionRules};
use serde_json::{
    Map, Value, json,
    value::{RawValue, to_raw_value},
};

use super::{CreateError, CreateRoom, Preset};
use crate::internal::Internal;

/// The content of the power levels: those of the initial state, or the default ones, changed as the
/// client wants them.
pub(super) fn content(
    wanted: &CreateRoom,
    rules: &RoomVersionRules,
) -> Result<Box<RawValue>, CreateError> {
    let mut initial = wanted.initial_state.iter();
    let given = initial
        .find(|state| state.kind == StateEventType::RoomPowerLevels && state.state_key.is_empty());
    let mut levels = match given {
        Some(state) => serde_json::from_str(state.content.get())
            .map_err(|error| CreateError::BadContent(error.to_string()))?,
        None => default_levels(wanted, rules),
    };
    levels.extend(wanted.power_level_content_override.clone());
    Ok(to_raw_value(&levels).map_err(Internal::from)?)
}

fn default_levels(wanted: &CreateRoom, rules: &RoomVersionRules) -> Map<String, Value> {
    // Who may upgrade a room may do so only as a creator where there are such.
    let tombstone = if rules.authorization.explicitly_privilege_room_creators { 150 } else { 100 };
    let invite = if wanted.preset == Preset::PublicChat { 50 } else { 0 };
    let levels = json!({
        "users": users(wanted, rules),
        "users_default": 0,
        "events": {
            "m.room.name": 50,
            "m.room.avatar": 50,
            "m.room.canonical_alias": 50,
            "m.room.power_levels": 100,
            "m.room.history_visibility": 100,
            "m.room.encryption": 100,
            "m.room.server_acl": 100,
            "m.room.tombstone": tombstone,
        },
        "events_default": 0,
        "state_default": 50,
        "ban": 50,
        "kick": 50,
        "redact": 50,
        "invite": invite,
    });
    match levels {
        Value::Object(levels) => levels,
        _ => Map::new(),
    }
}

/// Who has the power of the creator; where creators have their own, they must not be named.
fn users(wanted: &CreateRoom, rules: &RoomVersionRules) -> Map<String, Value> {
    if rules.authorization.explicitly_privilege_room_creators {
        return Map::new();
    }
    let trusted = (wanted.preset == Preset::TrustedPrivateChat).then_some(&wanted.invite);
    let users = std::iter::once(&wanted.creator).chain(trusted.into_iter().flatten());
    users.map(|user_id| (user_id.to_string(), 100.into())).collect()
}
