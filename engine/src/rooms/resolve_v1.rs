//! State resolution of room version 1. Pure.
//!
//! <https://spec.matrix.org/v1.19/rooms/v1/#state-resolution>

use std::{cmp::Reverse, collections::BTreeMap, sync::Arc};

use ruma::{events::StateEventType, room_version_rules::RoomVersionRules};
use sha1::{Digest as _, Sha1};

use super::{
    auth_graph::{Events, StateMap},
    authorize,
};
use crate::{events::Pdu, state::StateKey};

/// The events for a key on which the states do not agree, sorted by ascending depth, then
/// descending `sha1(event_id)`.
type Conflicts = BTreeMap<StateKey, Vec<Arc<Pdu>>>;

/// Merges states. `sets` are reduced to the keys on which they do not all agree, `agreed` holds
/// what the rules may read of the others, `events` all events of both.
///
/// The result holds the resolved keys and the agreed ones.
pub(super) fn resolve(
    sets: &[StateMap],
    agreed: &StateMap,
    events: &Events,
    rules: &RoomVersionRules,
) -> StateMap {
    // "Start by setting R to the union of the states to be resolved, excluding any conflicting
    // events." Where a state has no event at all for a key, that is no conflict.
    let (union, mut conflicts) = split(sets, events);
    let mut resolved: BTreeMap<StateKey, Arc<Pdu>> = union;
    let known = |(key, id): (&StateKey, _)| Some((key.clone(), events.get(id)?.clone()));
    resolved.extend(agreed.iter().filter_map(known));

    // "First we resolve conflicts between m.room.power_levels events", then join rules, then
    // members. Those of one kind do not see each other, as their order would decide otherwise.
    let passes = [
        StateEventType::RoomPowerLevels,
        StateEventType::RoomJoinRules,
        StateEventType::RoomMember,
    ];
    for kind in passes {
        let keys: Vec<StateKey> = conflicts.keys().filter(|key| key.0 == kind).cloned().collect();
        let taken = keys.into_iter().filter_map(|key| conflicts.remove_entry(&key));
        let winners: Vec<_> = taken
            .filter_map(|(key, events)| Some((key, last_allowed(&events, &resolved, rules)?)))
            .collect();
        resolved.extend(winners);
    }

    // "No other events affect the authorisation rules, so for all other conflicts, just pick the
    // event with the highest depth and lowest sha1(event_id) that passes authentication in R."
    let winners: Vec<_> = conflicts
        .into_iter()
        .filter_map(|(key, events)| Some((key, highest_allowed(&events, &resolved, rules)?)))
        .collect();
    resolved.extend(winners);
    resolved.into_iter().map(|(key, pdu)| (key, pdu.event_id.clone())).collect()
}

fn split(sets: &[StateMap], events: &Events) -> (BTreeMap<StateKey, Arc<Pdu>>, Conflicts) {
    let mut by_key = Conflicts::new();
    for (key, id) in sets.iter().flatten() {
        let candidates = by_key.entry(key.clone()).or_default();
        let known = candidates.iter().any(|pdu| pdu.event_id == *id);
        candidates.extend(events.get(id).filter(|_| !known).cloned());
    }
    let mut union = BTreeMap::new();
    let mut conflicts = Conflicts::new();
    for (key, mut candidates) in by_key {
        candidates
            .sort_by_cached_key(|pdu| (pdu.depth, Reverse(Sha1::digest(pdu.event_id.as_bytes()))));
        if candidates.len() > 1 {
            conflicts.insert(key, candidates);
        } else {
            union.extend(candidates.pop().map(|pdu| (key, pdu)));
        }
    }
    (union, conflicts)
}

/// "Add the first event in the list to R. For each subsequent event in the list, check that the
/// event would be allowed […] in state R. If \[so\], update R with the event and continue […]. If it
/// would not be allowed, stop."
fn last_allowed(
    candidates: &[Arc<Pdu>],
    resolved: &BTreeMap<StateKey, Arc<Pdu>>,
    rules: &RoomVersionRules,
) -> Option<Arc<Pdu>> {
    let (first, others) = candidates.split_first()?;
    let mut winner = first.clone();
    for candidate in others {
        if !allowed(candidate, Some(&winner), resolved, rules) {
            break;
        }
        winner = candidate.clone();
    }
    Some(winner)
}

/// If none passes, the lowest one is taken: the specification does not say, but a key that was
/// set in every state would otherwise be lost, and this is what the servers of such rooms do.
fn highest_allowed(
    candidates: &[Arc<Pdu>],
    resolved: &BTreeMap<StateKey, Arc<Pdu>>,
    rules: &RoomVersionRules,
) -> Option<Arc<Pdu>> {
    let passing = candidates.iter().rev().find(|pdu| allowed(pdu, None, resolved, rules));
    passing.or(candidates.first()).cloned()
}

/// Whether an event is allowed in R, in which `current` stands at the event's own key.
fn allowed(
    pdu: &Pdu,
    current: Option<&Arc<Pdu>>,
    resolved: &BTreeMap<StateKey, Arc<Pdu>>,
    rules: &RoomVersionRules,
) -> bool {
    let own_key = pdu.key();
    let state = |kind: &StateEventType, state_key: &str| {
        let key = (kind.clone(), state_key.to_owned());
        if current.is_some() && own_key.as_ref() == Some(&key) {
            return current.cloned();
        }
        resolved.get(&key).cloned()
    };
    authorize::check_state(pdu, rules, state).is_ok()
}

#[cfg(test)]
mod tests {
    use ruma::RoomVersionId;
    use serde_json::json;

    use super::{
        super::testing::{Draft, Room, draft, membership},
        *,
    };

    const ALICE: &str = "@alice:a.org";
    const BOB: &str = "@bob:b.org";

    fn resolve_keys(room: &Room, sets: &[Vec<&Arc<Pdu>>]) -> StateMap {
        let events: Events =
            room.events.iter().map(|(id, pdu)| (id.clone(), pdu.clone())).collect();
        let map = |set: &Vec<&Arc<Pdu>>| -> StateMap {
            set.iter().map(|pdu| (pdu.key().unwrap(), pdu.event_id.clone())).collect()
        };
        let sets: Vec<StateMap> = sets.iter().map(map).collect();
        let conflicted = |key: &StateKey| sets.iter().any(|set| set.contains_key(key));
        let agreed = room.state.iter().filter(|(key, _)| !conflicted(key));
        let agreed = agreed.map(|(key, pdu)| (key.clone(), pdu.event_id.clone())).collect();
        let resolved = resolve(&sets, &agreed, &events, &room.rules);
        let reversed: Vec<StateMap> = sets.iter().rev().cloned().collect();
        assert_eq!(resolve(&reversed, &agreed, &events, &room.rules), resolved);
        resolved
    }

    fn at<'a>(state: &'a StateMap, pdu: &Pdu) -> &'a str {
        state[&pdu.key().unwrap()].as_str()
    }

    /// Makes events that are put beside each other, one deeper than the other.
    fn two(room: &mut Room, lower: Draft, higher: Draft) -> (Arc<Pdu>, Arc<Pdu>) {
        let lower = room.make(lower);
        let deeper = Pdu { depth: lower.depth + 1, ..(*room.make(higher)).clone() };
        let higher = Arc::new(deeper);
        for pdu in [&lower, &higher] {
            room.events.insert(pdu.event_id.clone(), pdu.clone());
        }
        (lower, higher)
    }

    #[test]
    fn auth_events_climb_until_one_is_not_allowed() {
        let mut room = Room::new(&RoomVersionId::V1);
        room.send(membership(BOB, BOB, "join"));
        let levels = |by: &str, bob: i64| {
            draft("m.room.power_levels", by, "", json!({ "users": { ALICE: 100, BOB: bob } }))
        };
        let (lower, higher) = two(&mut room, levels(ALICE, 50), levels(ALICE, 60));
        let resolved = resolve_keys(&room, &[vec![&lower], vec![&higher]]);
        assert_eq!(at(&resolved, &lower), higher.event_id.as_str());
        // Bob may not raise himself above the level that the lower event gives him.
        let (lower, higher) = two(&mut room, levels(ALICE, 50), levels(BOB, 90));
        let resolved = resolve_keys(&room, &[vec![&higher], vec![&lower]]);
        assert_eq!(at(&resolved, &lower), lower.event_id.as_str());
    }

    #[test]
    fn other_events_are_the_deepest_that_is_allowed() {
        let mut room = Room::new(&RoomVersionId::V1);
        room.send(membership(BOB, BOB, "join"));
        let topic = |by: &str| draft("m.room.topic", by, "", json!({}));
        let (lower, higher) = two(&mut room, topic(ALICE), topic(ALICE));
        let resolved = resolve_keys(&room, &[vec![&lower], vec![&higher]]);
        assert_eq!(at(&resolved, &lower), higher.event_id.as_str());
        let (lower, higher) = two(&mut room, topic(ALICE), topic(BOB));
        let resolved = resolve_keys(&room, &[vec![&lower], vec![&higher]]);
        assert_eq!(at(&resolved, &lower), lower.event_id.as_str());
    }

    #[test]
    fn equal_depths_are_decided_by_hash_and_a_missing_event_is_no_conflict() {
        let mut room = Room::new(&RoomVersionId::V1);
        let topic = || draft("m.room.topic", ALICE, "", json!({}));
        let (first, second) = (room.make(topic()), room.make(topic()));
        for pdu in [&first, &second] {
            room.events.insert(pdu.event_id.clone(), pdu.clone());
        }
        let by_hash = |pdu: &&Arc<Pdu>| Sha1::digest(pdu.event_id.as_bytes());
        let lowest = [&first, &second].into_iter().min_by_key(by_hash).unwrap();
        let resolved = resolve_keys(&room, &[vec![&first], vec![&second]]);
        assert_eq!(at(&resolved, &first), lowest.event_id.as_str());
        let resolved = resolve_keys(&room, &[vec![&first], vec![]]);
        assert_eq!(at(&resolved, &first), first.event_id.as_str());
    }
}
