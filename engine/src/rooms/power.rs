//! Power levels: who stands where in a room. Pure.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#mroompower_levels>

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
};

use ruma::{
    Int, OwnedUserId, UserId,
    events::{StateEventType, TimelineEventType, room::power_levels::UserPowerLevel},
    room_version_rules::AuthorizationRules,
    state_res::events::{RoomCreateEvent, RoomPowerLevelsEvent},
};
use serde_json::{Value, value::RawValue};

use super::batch::State;
use crate::{events::Pdu, state::StateKey};

/// What a level is needed for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Redacting the events of others.
    Redact,
    /// Inviting.
    Invite,
    /// Removing a member.
    Kick,
    /// Banning.
    Ban,
    /// Sending an event of this kind, where no level is set for its type.
    SendMessage,
    /// The same for state events.
    SendState,
}

impl Action {
    fn field(self) -> &'static str {
        match self {
            Self::Redact => "redact",
            Self::Invite => "invite",
            Self::Kick => "kick",
            Self::Ban => "ban",
            Self::SendMessage => "events_default",
            Self::SendState => "state_default",
        }
    }

    fn default_level(self) -> i64 {
        match self {
            Self::Invite | Self::SendMessage => 0,
            Self::Redact | Self::Kick | Self::Ban | Self::SendState => 50,
        }
    }
}

/// The power levels that a state gives.
#[derive(Debug)]
pub struct Powers {
    levels: Option<Arc<Pdu>>,
    creators: HashSet<OwnedUserId>,
    rules: AuthorizationRules,
}

/// The keys of the state on which power levels depend.
#[must_use]
pub fn state_keys() -> [StateKey; 2] {
    [(StateEventType::RoomPowerLevels, String::new()), (StateEventType::RoomCreate, String::new())]
}

impl Powers {
    /// The power levels that a state gives which knows the keys of [`state_keys`]. What is malformed
    /// counts as absent: it gives nobody power.
    #[must_use]
    pub fn new(state: &State, rules: &AuthorizationRules) -> Self {
        let [levels, create] = state_keys().map(|key| state.get(&key).cloned());
        let creators = create.and_then(|create| RoomCreateEvent::new(create).creators(rules).ok());
        Self { levels, creators: creators.unwrap_or_default(), rules: rules.clone() }
    }

    /// Who made the room.
    #[must_use]
    pub fn creators(&self) -> &HashSet<OwnedUserId> {
        &self.creators
    }

    /// The level of a user.
    #[must_use]
    pub fn of(&self, user_id: &UserId) -> UserPowerLevel {
        let is_creator = self.creators.contains(user_id);
        if is_creator && self.rules.explicitly_privilege_room_creators {
            return UserPowerLevel::Infinite;
        }
        let level = match &self.levels {
            Some(levels) => RoomPowerLevelsEvent::new(levels.clone())
                .user_power_level(user_id, &self.rules)
                .unwrap_or_default(),
            None => Int::from(if is_creator { 100_u8 } else { 0 }),
        };
        UserPowerLevel::Int(level)
    }

    /// The level that an action needs.
    #[must_use]
    pub fn needed(&self, action: Action) -> i64 {
        let level = self.levels.as_ref().and_then(|levels| self.integer(levels, action.field()));
        level.unwrap_or_else(|| action.default_level())
    }

    fn integer(&self, levels: &Arc<Pdu>, field: &str) -> Option<i64> {
        let content: BTreeMap<String, &RawValue> =
            serde_json::from_str(levels.content.get()).ok()?;
        level_of(&serde_json::from_str(content.get(field)?.get()).ok()?, &self.rules)
    }

    /// Whether a user may do what a level is needed for.
    #[must_use]
    pub fn allow(&self, user_id: &UserId, action: Action) -> bool {
        self.reaches(user_id, self.needed(action))
    }

    /// Whether a user may send events of a type, as far as power goes.
    #[must_use]
    pub fn allow_event(&self, user_id: &UserId, kind: &TimelineEventType, state: bool) -> bool {
        let default = if state { Action::SendState } else { Action::SendMessage };
        let levels = self.levels.as_ref().map(|levels| RoomPowerLevelsEvent::new(levels.clone()));
        let events = levels.and_then(|levels| levels.events(&self.rules).ok().flatten());
        let level = events.and_then(|events| events.get(kind).map(|level| i64::from(*level)));
        self.reaches(user_id, level.unwrap_or_else(|| self.needed(default)))
    }

    fn reaches(&self, user_id: &UserId, level: i64) -> bool {
        match self.of(user_id) {
            UserPowerLevel::Int(has) => i64::from(has) >= level,
            _ => true,
        }
    }
}

/// A level as the rules of a room read it: old versions took numbers in strings too.
pub(crate) fn level_of(level: &Value, rules: &AuthorizationRules) -> Option<i64> {
    match level {
        Value::Number(number) => number.as_i64().or_else(|| number.as_f64().map(|it| it as i64)),
        Value::String(text) if !rules.integer_power_levels => text.trim().parse().ok(),
        _ => None,
    }
}
