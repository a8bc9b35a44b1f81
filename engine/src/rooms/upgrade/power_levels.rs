//! The power levels of the new room, and those that lock the old one. Pure.

use std::collections::HashSet;

use ruma::{OwnedUserId, UserId, room_version_rules::AuthorizationRules};
use serde_json::{Map, Value, json, value::RawValue};

use crate::rooms::power::level_of;

/// The level of who has every power, where no level is higher.
const HIGHEST: i64 = 100;

/// The fields that are levels.
const LEVELS: [&str; 7] =
    ["ban", "events_default", "invite", "kick", "redact", "state_default", "users_default"];

/// The fields that name levels.
const TABLES: [&str; 3] = ["events", "notifications", "users"];

/// From which levels to whose.
pub(super) struct Handover<'a> {
    /// The content of the power levels of the old room.
    pub(super) content: Option<&'a RawValue>,
    /// Who has power in the old room without being named by its levels.
    pub(super) unnamed_creators: &'a HashSet<OwnedUserId>,
    /// The rules of the old room.
    pub(super) old_rules: &'a AuthorizationRules,
    /// Who makes the new room.
    pub(super) new_creators: &'a [OwnedUserId],
    /// The rules of the new room.
    pub(super) rules: &'a AuthorizationRules,
}

/// The content of the power levels of the new room: everybody keeps what the levels of the old one
/// gave them. What creators had without being named goes on to creators, whom who upgrades names where
/// the new version has such: "the server will not transfer those additional creators automatically".
pub(super) fn handed_over(handover: &Handover<'_>) -> Map<String, Value> {
    let levels = handover.content.map(object).unwrap_or_default();
    let mut levels = clean(levels, handover.old_rules);
    let highest = highest(&levels);
    let users = levels.entry("users").or_insert_with(|| json!({}));
    let Value::Object(users) = users else { return levels };
    // Creators stand above all levels where the version has them, and are named by none; where it
    // has not, those who stood above need a level.
    if handover.rules.explicitly_privilege_room_creators {
        users.retain(|id, _| !handover.new_creators.iter().any(|creator| creator == id));
    } else {
        for creator in handover.unnamed_creators {
            users.insert(creator.to_string(), highest.into());
        }
    }
    levels
}

/// The content that keeps people from going on in the old room: "setting `events_default` and
/// `invite` to the greater of `50` and `users_default + 1`". `None` when it does already.
pub(super) fn locked(content: &RawValue, rules: &AuthorizationRules) -> Option<Map<String, Value>> {
    let mut levels = object(content);
    let of = |levels: &Map<String, Value>, field: &str| level_of(levels.get(field)?, rules);
    let wanted = of(&levels, "users_default").unwrap_or(0).saturating_add(1).max(50);
    let mut changed = false;
    for field in ["events_default", "invite"] {
        if of(&levels, field).is_none_or(|level| level < wanted) {
            levels.insert(field.to_owned(), wanted.into());
            changed = true;
        }
    }
    changed.then_some(levels)
}

fn object(content: &RawValue) -> Map<String, Value> {
    serde_json::from_str(content.get()).unwrap_or_default()
}

/// Levels as every version takes them: numbers, for users whose IDs are such.
fn clean(mut levels: Map<String, Value>, rules: &AuthorizationRules) -> Map<String, Value> {
    let is_user = |id: &str| UserId::parse(id).is_ok();
    levels.retain(|field, value| match value {
        Value::Object(table) if TABLES.contains(&field.as_str()) => {
            table.retain(|key, level| {
                let is_right = field != "users" || is_user(key);
                is_right && make_number(level, rules)
            });
            true
        }
        _ if TABLES.contains(&field.as_str()) => false,
        value if LEVELS.contains(&field.as_str()) => make_number(value, rules),
        _ => true,
    });
    levels
}

fn make_number(level: &mut Value, rules: &AuthorizationRules) -> bool {
    let number = level_of(level, rules);
    *level = number.into();
    number.is_some()
}

/// The highest level that anything needs or anybody has.
fn highest(levels: &Map<String, Value>) -> i64 {
    let tables = levels.values().filter_map(Value::as_object).flat_map(Map::values);
    levels.values().chain(tables).filter_map(Value::as_i64).max().unwrap_or(0).max(HIGHEST)
}

#[cfg(test)]
mod tests {
    use ruma::{RoomVersionId, user_id};
    use serde_json::value::to_raw_value;

    use super::*;

    fn rules(version: &RoomVersionId) -> AuthorizationRules {
        version.rules().unwrap().authorization
    }

    /// From version 9.
    fn hand_over(content: Value, unnamed: &[&UserId], version: &RoomVersionId) -> Value {
        let content = to_raw_value(&content).unwrap();
        let unnamed = unnamed.iter().map(|id| (*id).to_owned()).collect();
        let creators = [user_id!("@a:x.org").to_owned()];
        let (old_rules, rules) = (rules(&RoomVersionId::V9), rules(version));
        let handover = Handover {
            content: Some(&content),
            unnamed_creators: &unnamed,
            old_rules: &old_rules,
            new_creators: &creators,
            rules: &rules,
        };
        Value::Object(handed_over(&handover))
    }

    #[test]
    fn creators_are_named_where_nothing_else_gives_them_power() {
        let levels = json!({ "users": { "@a:x.org": 100, "@b:x.org": 50 }, "ban": 40 });
        let new = hand_over(levels.clone(), &[], &RoomVersionId::V12);
        assert_eq!(new, json!({ "users": { "@b:x.org": 50 }, "ban": 40 }));
        assert_eq!(hand_over(levels, &[], &RoomVersionId::V11)["users"]["@a:x.org"], 100);
        let levels = json!({ "events": { "m.room.tombstone": 150 } });
        let new = hand_over(levels.clone(), &[user_id!("@c:x.org")], &RoomVersionId::V11);
        assert_eq!(new["users"], json!({ "@c:x.org": 150 }));
        let new = hand_over(levels, &[user_id!("@c:x.org")], &RoomVersionId::V12);
        assert_eq!(new["users"], json!({}));
    }

    #[test]
    fn levels_become_numbers() {
        let levels = json!({
            "users": { "@b:x.org": "50", "nobody": 100, "@c:x.org": "much" },
            "events": [], "kick": " 7 ", "ban": null, "org.example": "kept",
        });
        let wanted = json!({ "users": { "@b:x.org": 50 }, "kick": 7, "org.example": "kept" });
        assert_eq!(hand_over(levels.clone(), &[], &RoomVersionId::V10), wanted);
        // In a room where strings are void they give nobody power.
        let Value::Object(levels) = levels else { unreachable!() };
        let clean = Value::Object(clean(levels, &rules(&RoomVersionId::V10)));
        assert_eq!(clean, json!({ "users": {}, "org.example": "kept" }));
    }

    #[test]
    fn the_old_room_is_locked() {
        let rules = rules(&RoomVersionId::V12);
        let lock =
            |content: Value| locked(&to_raw_value(&content).unwrap(), &rules).map(Value::Object);
        let wanted = json!({ "events_default": 50, "invite": 50 });
        assert_eq!(lock(json!({})), Some(wanted.clone()));
        assert_eq!(lock(wanted), None);
        let high = json!({ "users_default": 60, "invite": 100 });
        let wanted = json!({ "users_default": 60, "invite": 100, "events_default": 61 });
        assert_eq!(lock(high), Some(wanted));
    }
}
