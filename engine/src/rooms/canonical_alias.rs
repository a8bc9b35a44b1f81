//! What clients may put into `m.room.canonical_alias`: aliases that name the room.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3roomsroomidstateeventtypestatekey>

use std::collections::{BTreeMap, BTreeSet};

use ruma::{OwnedRoomAliasId, RoomAliasId, RoomId, events::StateEventType};
use serde_json::{Value, value::RawValue};

use super::{aliases, batch::Batch, room};
use crate::{Engine, internal::Internal};

/// How many alternative aliases are looked up for one event.
const MAX_NEW: usize = 100;

/// Why the content is refused.
#[derive(Debug, thiserror::Error)]
pub enum AliasProblem {
    /// It is not what the event type has.
    #[error("{0}")]
    Malformed(String),
    /// An alias does not name this room.
    #[error("{0} does not name this room")]
    NotThisRoom(String),
    /// This server failed.
    #[error(transparent)]
    Internal(#[from] Internal),
}

/// Checks that every alias that the room did not have before names the room.
///
/// # Errors
///
/// See [`AliasProblem`].
pub async fn check(
    engine: &Engine,
    room_id: &RoomId,
    content: &RawValue,
) -> Result<(), AliasProblem> {
    let wanted = aliases_in(content).map_err(AliasProblem::Malformed)?;
    let known = current(engine, room_id).await?;
    let new: Vec<_> = wanted.difference(&known).collect();
    if new.len() > MAX_NEW {
        return Err(AliasProblem::Malformed(format!("more than {MAX_NEW} new aliases")));
    }
    for alias in new {
        let named = aliases::resolve_known(engine, alias).await?;
        if named.is_none_or(|named| named.room_id != room_id) {
            return Err(AliasProblem::NotThisRoom(alias.to_string()));
        }
    }
    Ok(())
}

/// The aliases that the room has now; those of a malformed event do not count.
async fn current(
    engine: &Engine,
    room_id: &RoomId,
) -> Result<BTreeSet<OwnedRoomAliasId>, Internal> {
    let Some(room) = room::load(engine, room_id).await? else { return Ok(BTreeSet::new()) };
    let key = (StateEventType::RoomCanonicalAlias, String::new());
    let batch = Batch::new(engine, &room);
    let state = batch.state(room.row.current_state, std::slice::from_ref(&key)).await?;
    let event = state.get(&key);
    Ok(event.and_then(|event| aliases_in(&event.content).ok()).unwrap_or_default())
}

fn aliases_in(content: &RawValue) -> Result<BTreeSet<OwnedRoomAliasId>, String> {
    let content: BTreeMap<String, Value> =
        serde_json::from_str(content.get()).map_err(|error| error.to_string())?;
    let mut aliases = BTreeSet::new();
    match content.get("alias") {
        None | Some(Value::Null) => {}
        Some(alias) => drop(aliases.insert(parse(alias)?)),
    }
    match content.get("alt_aliases") {
        None | Some(Value::Null) => {}
        Some(Value::Array(alternatives)) => {
            for alias in alternatives {
                aliases.insert(parse(alias)?);
            }
        }
        Some(_) => return Err("`alt_aliases` is not a list".to_owned()),
    }
    Ok(aliases)
}

fn parse(alias: &Value) -> Result<OwnedRoomAliasId, String> {
    let text = alias.as_str().ok_or("an alias is a string")?;
    RoomAliasId::parse(text).map_err(|error| format!("{text:?}: {error}"))
}

/// The content without an alias; `None` when it does not have it.
pub(super) fn without(content: &RawValue, alias: &RoomAliasId) -> Option<Box<RawValue>> {
    let mut content: BTreeMap<String, Value> = serde_json::from_str(content.get()).ok()?;
    let mut found = false;
    if content.get("alias").and_then(Value::as_str) == Some(alias.as_str()) {
        content.remove("alias");
        found = true;
    }
    if let Some(Value::Array(alternatives)) = content.get_mut("alt_aliases") {
        let before = alternatives.len();
        alternatives.retain(|alternative| alternative.as_str() != Some(alias.as_str()));
        found |= alternatives.len() != before;
    }
    found.then(|| serde_json::value::to_raw_value(&content).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use ruma::room_alias_id;
    use serde_json::{json, value::to_raw_value};

    use super::*;

    #[test]
    fn reads_and_removes_aliases() {
        let raw = |value: Value| to_raw_value(&value).unwrap();
        let both = raw(json!({ "alias": "#a:x.org", "alt_aliases": ["#b:x.org", "#a:x.org"] }));
        assert_eq!(aliases_in(&both).unwrap().len(), 2);
        for wrong in [json!({ "alias": 1 }), json!({ "alt_aliases": {} }), json!({ "alias": "a" })]
        {
            assert!(aliases_in(&raw(wrong)).is_err());
        }
        assert!(aliases_in(&raw(json!({ "alias": null }))).unwrap().is_empty());
        let left = without(&both, room_alias_id!("#a:x.org")).unwrap();
        assert_eq!(left.get(), r##"{"alt_aliases":["#b:x.org"]}"##);
        assert!(without(&left, room_alias_id!("#a:x.org")).is_none());
    }
}
