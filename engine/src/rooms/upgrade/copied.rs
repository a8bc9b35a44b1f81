//! What the new room takes over from the old one.

use std::collections::{BTreeMap, HashSet};

use ruma::{
    EventId, OwnedEventId, OwnedRoomAliasId, OwnedUserId, events::StateEventType,
    room_version_rules::RoomVersionRules,
};
use serde_json::{
    Map, Value, json,
    value::{RawValue, to_raw_value},
};
use starling_storage::{memberships, rooms as rows, state as state_rows};

use super::{
    Upgrade, UpgradeError,
    power_levels::{self, Handover},
};
use crate::{
    events::pdu::content_str,
    internal::Internal,
    rooms::{
        aliases,
        batch::{Batch, State, content},
        canonical_alias,
        power::{self, Powers},
    },
    spaces::{child, summary::SPACE},
    state::StateKey,
};

/// The state that means the same in the new room. What depends on who sent it, on other events of the
/// room, or on rooms that have to agree (`m.space.parent`), is not taken over.
const COPIED: [&str; 10] = [
    "m.room.join_rules",
    "m.room.history_visibility",
    "m.room.guest_access",
    "m.room.encryption",
    "m.room.server_acl",
    "m.room.policy",
    "m.room.name",
    "m.room.topic",
    "m.room.avatar",
    "m.room.canonical_alias",
];

/// How many bans, and how many rooms in a space, are taken over. A room with more is not upgraded: to
/// lose a ban would let somebody in.
const MAX_MANY: usize = 10_000;

/// What the upgrade needs to know of the old room.
pub(super) struct Old {
    /// The content of its power levels.
    pub(super) levels: Option<Box<RawValue>>,
    /// The power levels of the new room.
    pub(super) new_levels: Map<String, Value>,
    /// The other state of the new room.
    pub(super) copied: Vec<(StateEventType, String, Box<RawValue>)>,
    /// Which aliases the old room still says to have, if that changes.
    pub(super) aliases_left: Option<Box<RawValue>>,
    /// Whether the directory lists it.
    pub(super) published: bool,
}

impl Old {
    /// Reads the old room.
    pub(super) async fn read(
        batch: &Batch,
        upgrade: &Upgrade,
        rules: &RoomVersionRules,
    ) -> Result<Self, UpgradeError> {
        let mut keys = power::state_keys().to_vec();
        keys.extend(COPIED.map(|kind| (StateEventType::from(kind), String::new())));
        let state = batch.state(batch.room.row.current_state, &keys).await?;
        let moved = aliases::of_room(&batch.engine, &batch.room.id).await?;
        let mut copied = singles(&state, &moved, rules)?;
        if is_space(&state) {
            copied.extend(children(batch).await?);
        }
        let creators = new_creators(upgrade, rules);
        copied.extend(bans(batch, &creators, rules).await?);
        let levels = content(&state, StateEventType::RoomPowerLevels);
        let mut conn = batch.engine.storage.read().await.map_err(Internal::from)?;
        let row = rows::get(&mut conn, batch.room.id.as_str()).await.map_err(Internal::from)?;
        Ok(Self {
            new_levels: new_levels(batch, &state, &creators, rules),
            aliases_left: aliases_left(&state, &moved),
            levels: levels.map(ToOwned::to_owned),
            published: row.is_some_and(|row| row.published),
            copied,
        })
    }
}

fn object(content: &RawValue) -> Map<String, Value> {
    serde_json::from_str(content.get()).unwrap_or_default()
}

fn is_space(state: &State) -> bool {
    let create = content(state, StateEventType::RoomCreate);
    create.and_then(|create| content_str(create, "type")).as_deref() == Some(SPACE)
}

/// Who counts as a creator of the new room.
fn new_creators(upgrade: &Upgrade, rules: &RoomVersionRules) -> Vec<OwnedUserId> {
    let mut creators = vec![upgrade.user_id.clone()];
    if rules.authorization.additional_room_creators {
        creators.extend(upgrade.additional_creators.iter().cloned());
    }
    creators
}

fn new_levels(
    batch: &Batch,
    state: &State,
    new_creators: &[OwnedUserId],
    rules: &RoomVersionRules,
) -> Map<String, Value> {
    let old_rules = &batch.room.rules().authorization;
    let content = content(state, StateEventType::RoomPowerLevels);
    let powers = Powers::new(state, old_rules);
    // Where levels name everybody with power, who made the room counts no more than others.
    let unnamed = old_rules.explicitly_privilege_room_creators || content.is_none();
    let nobody = HashSet::new();
    let handover = Handover {
        content,
        unnamed_creators: if unnamed { powers.creators() } else { &nobody },
        old_rules,
        new_creators,
        rules: &rules.authorization,
    };
    power_levels::handed_over(&handover)
}

/// The events with an empty state key, as the new room takes them.
fn singles(
    state: &State,
    moved: &[OwnedRoomAliasId],
    rules: &RoomVersionRules,
) -> Result<Vec<(StateEventType, String, Box<RawValue>)>, Internal> {
    let mut copied = Vec::new();
    for kind in COPIED.map(StateEventType::from) {
        let Some(content) = content(state, kind.clone()) else { continue };
        let content = match kind {
            StateEventType::RoomJoinRules => to_raw_value(&join_rules(object(content), rules))?,
            StateEventType::RoomCanonicalAlias => match aliases_moved(object(content), moved) {
                Some(content) => to_raw_value(&content)?,
                None => continue,
            },
            _ => content.to_owned(),
        };
        copied.push((kind, String::new(), content));
    }
    Ok(copied)
}

/// Join rules that the new version knows. A reference of the room to itself stays one to the old room:
/// it lets those follow who were there.
fn join_rules(mut content: Map<String, Value>, rules: &RoomVersionRules) -> Map<String, Value> {
    let rules = &rules.authorization;
    let known = match content.get("join_rule").and_then(Value::as_str) {
        Some("knock_restricted") if rules.knock_restricted_join_rule => return content,
        Some("knock_restricted" | "restricted") if rules.restricted_join_rule => "restricted",
        Some("knock_restricted" | "knock") if rules.knocking => "knock",
        Some("knock_restricted" | "restricted" | "knock") => "invite",
        _ => return content,
    };
    if known != "restricted" {
        content.remove("allow");
    }
    content.insert("join_rule".to_owned(), known.into());
    content
}

/// Those of the aliases that the old room said to have which now name the new one.
fn aliases_moved(
    mut content: Map<String, Value>,
    moved: &[OwnedRoomAliasId],
) -> Option<Map<String, Value>> {
    let moves =
        |alias: &Value| alias.as_str().is_some_and(|alias| moved.iter().any(|it| it == alias));
    content.retain(|field, value| match value {
        Value::Array(alternatives) if field == "alt_aliases" => {
            alternatives.retain(moves);
            !alternatives.is_empty()
        }
        value => field == "alias" && moves(value),
    });
    (!content.is_empty()).then_some(content)
}

/// What the old room says of its aliases without those that name the new one; `None` when it is what
/// it says already.
fn aliases_left(state: &State, moved: &[OwnedRoomAliasId]) -> Option<Box<RawValue>> {
    let before = content(state, StateEventType::RoomCanonicalAlias)?;
    let mut left = None;
    for alias in moved {
        let now = canonical_alias::without(left.as_deref().unwrap_or(before), alias);
        left = now.or(left);
    }
    left
}

/// The rooms of a space.
async fn children(
    batch: &Batch,
) -> Result<Vec<(StateEventType, String, Box<RawValue>)>, UpgradeError> {
    let mut conn = batch.engine.storage.read().await.map_err(Internal::from)?;
    let (room_id, limit) = (batch.room.id.as_str(), MAX_MANY as i64 + 1);
    let rows = state_rows::current_of_type(&mut conn, room_id, child::KIND, limit).await;
    let rows = rows.map_err(Internal::from)?;
    drop(conn);
    check_amount(rows.len())?;
    let keys = rows.into_iter().map(|(state_key, _)| (StateEventType::SpaceChild, state_key));
    let keys: Vec<StateKey> = keys.collect();
    let state = batch.state(batch.room.row.current_state, &keys).await?;
    let events: BTreeMap<_, _> = state.iter().map(|((_, key), pdu)| (key, pdu)).collect();
    let is_child = |content: &RawValue| object(content).get("via").is_some_and(Value::is_array);
    let child = |(key, pdu): (&String, &std::sync::Arc<crate::events::Pdu>)| {
        (StateEventType::SpaceChild, key.clone(), pdu.content.clone())
    };
    Ok(events.into_iter().filter(|(_, pdu)| is_child(&pdu.content)).map(child).collect())
}

/// Who is banned, and why. Creators above all levels cannot be: who is named one is let in again.
async fn bans(
    batch: &Batch,
    creators: &[OwnedUserId],
    rules: &RoomVersionRules,
) -> Result<Vec<(StateEventType, String, Box<RawValue>)>, UpgradeError> {
    let are_above = rules.authorization.explicitly_privilege_room_creators;
    let is_above = |user_id: &str| are_above && creators.iter().any(|it| it == user_id);
    let mut conn = batch.engine.storage.read().await.map_err(Internal::from)?;
    let banned = ["ban".to_owned()];
    let banned = memberships::of_room(&mut conn, batch.room.id.as_str(), &banned).await;
    let mut banned = banned.map_err(Internal::from)?;
    drop(conn);
    check_amount(banned.len())?;
    banned.retain(|row| !is_above(&row.user_id));
    let ids: Vec<OwnedEventId> =
        banned.iter().filter_map(|row| row.event_id.as_str().try_into().ok()).collect();
    let events = batch.events(&ids).await?;
    let mut bans = Vec::with_capacity(banned.len());
    for row in banned {
        let mut content = json!({ "membership": "ban" });
        let event = <&EventId>::try_from(row.event_id.as_str()).ok().and_then(|id| events.get(id));
        if let Some(reason) = event.and_then(|event| event.pdu.content_str("reason")) {
            content["reason"] = reason.into();
        }
        let content = to_raw_value(&content).map_err(Internal::from)?;
        bans.push((StateEventType::RoomMember, row.user_id, content));
    }
    Ok(bans)
}

fn check_amount(amount: usize) -> Result<(), UpgradeError> {
    match amount > MAX_MANY {
        true => Err(UpgradeError::TooMuch(format!("more than {MAX_MANY} bans or rooms"))),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use ruma::{RoomVersionId, room_alias_id};

    use super::*;

    fn map(value: Value) -> Map<String, Value> {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn join_rules_are_what_the_version_knows() {
        let allow = json!([{ "type": "m.room_membership", "room_id": "!old:x.org" }]);
        let full = map(json!({ "join_rule": "knock_restricted", "allow": allow }));
        let rule = |version: RoomVersionId| join_rules(full.clone(), &version.rules().unwrap());
        assert_eq!(rule(RoomVersionId::V12), full);
        let restricted = map(json!({ "join_rule": "restricted", "allow": allow }));
        assert_eq!(rule(RoomVersionId::V9), restricted);
        assert_eq!(rule(RoomVersionId::V7), map(json!({ "join_rule": "knock" })));
        assert_eq!(rule(RoomVersionId::V6), map(json!({ "join_rule": "invite" })));
        let public = map(json!({ "join_rule": "public" }));
        assert_eq!(join_rules(public.clone(), &RoomVersionId::V1.rules().unwrap()), public);
    }

    #[test]
    fn aliases_of_other_servers_stay() {
        let content =
            map(json!({ "alias": "#a:x.org", "alt_aliases": ["#b:x.org", "#far:y.org"] }));
        let [a, b] = [room_alias_id!("#a:x.org"), room_alias_id!("#b:x.org")];
        let moved = aliases_moved(content.clone(), &[a.to_owned(), b.to_owned()]).unwrap();
        assert_eq!(moved, map(json!({ "alias": "#a:x.org", "alt_aliases": ["#b:x.org"] })));
        let moved = aliases_moved(content.clone(), &[b.to_owned()]).unwrap();
        assert_eq!(moved, map(json!({ "alt_aliases": ["#b:x.org"] })));
        assert!(aliases_moved(content, &[]).is_none());
    }
}
