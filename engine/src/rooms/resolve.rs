//! How states of a room merge.
//!
//! The algorithms of room versions 2 and later are `ruma`'s, which wants whole states and chains.
//! A room has up to hundreds of thousands of state events, a conflict a handful: `ruma` gets the
//! states reduced to the keys on which they differ and those that the rules read, and the chains
//! reduced to the auth difference. A property test compares both ways.
//!
//! <https://spec.matrix.org/v1.19/rooms/v12/#state-resolution>

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::Arc,
};

use ruma::{
    EventId, OwnedEventId,
    events::{StateEventType, TimelineEventType},
    room_version_rules::{RoomVersionRules, StateResolutionV2Rules, StateResolutionVersion},
    state_res::{self, utils::event_id_set::EventIdSet},
};

pub use super::auth_graph::{Events, RoomSource, StateMap};
use super::{
    auth_graph::{self, Budget, Reach},
    authorize,
    batch::State,
    owned_state, power, resolve_v1,
};
use crate::{
    events::Pdu,
    state::{NodeSource, StateKey, Trie},
};

/// How many events may be read for one conflict, beside what is agreed. The largest conflicts of
/// public rooms take some thousands.
const MAX_READ: usize = 20_000;

/// Conflicts that take more events than this are not decided between other tasks' turns, nor for
/// each event anew.
pub(super) const LARGE: usize = 300;

/// Why states could not be merged.
#[derive(Debug, thiserror::Error)]
pub enum ResolveError<E> {
    /// The source failed.
    #[error(transparent)]
    Source(E),
    /// It would take more than may be spent on it.
    #[error("state cannot be resolved within bounds")]
    TooMuch,
    /// The room's events are not what they were when they were accepted.
    #[error("state cannot be resolved: {0}")]
    Damaged(#[from] state_res::Error),
}

/// Reduces the states with these roots to the keys on which they do not all agree.
///
/// # Errors
///
/// Those of the source.
pub async fn disagreements<S: NodeSource>(
    trie: &Trie,
    source: &S,
    roots: &[i64],
) -> Result<Vec<StateMap>, S::Error> {
    let Some((first, others)) = roots.split_first() else { return Ok(Vec::new()) };
    let mut first_set = StateMap::new();
    let mut changes = Vec::new();
    let mut keys = BTreeSet::new();
    for other in others {
        let mut changed_to = HashMap::new();
        for changed in trie.diff(source, *first, *other).await? {
            keys.insert(changed.key.clone());
            first_set.extend(changed.old.map(|old| (changed.key.clone(), old)));
            changed_to.insert(changed.key, changed.new);
        }
        changes.push(changed_to);
    }
    let other_set = |mut changed_to: HashMap<StateKey, Option<OwnedEventId>>| {
        let event_at = |key: &StateKey| match changed_to.remove(key) {
            Some(event_id) => event_id,
            None => first_set.get(key).cloned(),
        };
        keys.iter()
            .map(event_at)
            .zip(&keys)
            .filter_map(|(id, key)| Some((key.clone(), id?)))
            .collect()
    };
    let others: Vec<StateMap> = changes.into_iter().map(other_set).collect();
    Ok([vec![first_set], others].concat())
}

/// Merges states of a room, given reduced to the keys on which they do not all agree.
///
/// Gives what to put into, or remove from, any one of the states to get the merged one: to be
/// handed to [`Trie::apply`].
///
/// # Errors
///
/// [`ResolveError::Source`], [`ResolveError::TooMuch`], or [`ResolveError::Damaged`] which the rules
/// exclude.
pub async fn resolve<S: RoomSource>(
    source: &S,
    sets: &[StateMap],
    rules: &RoomVersionRules,
) -> Result<Vec<(StateKey, Option<OwnedEventId>)>, ResolveError<S::Error>> {
    let conflicted_keys: BTreeSet<StateKey> =
        sets.iter().flat_map(StateMap::keys).cloned().collect();
    if conflicted_keys.is_empty() {
        return Ok(Vec::new());
    }
    let (agreed, mut resolved) = match &rules.state_res {
        StateResolutionVersion::V2(version) => {
            let input = prepare(source, sets, rules, version).await?;
            decide(input, rules, version).await?
        }
        _ => resolve_v1(source, sets, rules).await.map_err(ResolveError::Source)?,
    };
    let keys = conflicted_keys.into_iter().chain(resolved.keys().cloned().collect::<Vec<_>>());
    let keys: BTreeSet<StateKey> = keys.filter(|key| !agreed.contains_key(key)).collect();
    Ok(keys.into_iter().map(|key| (key.clone(), resolved.remove(&key))).collect())
}

/// Decides on a thread of its own what would hold up others.
async fn decide<E>(
    input: Input,
    rules: &RoomVersionRules,
    version: &StateResolutionV2Rules,
) -> Result<(StateMap, StateMap), ResolveError<E>> {
    if input.events.len() <= LARGE {
        let resolved = input.merged(rules, version)?;
        return Ok((input.agreed, resolved));
    }
    let (rules, version) = (rules.clone(), *version);
    let work = move || input.merged(&rules, &version).map(|resolved| (input.agreed, resolved));
    match tokio::task::spawn_blocking(work).await {
        Ok(resolved) => Ok(resolved?),
        Err(_) => Err(ResolveError::TooMuch),
    }
}

async fn resolve_v1<S: RoomSource>(
    source: &S,
    sets: &[StateMap],
    rules: &RoomVersionRules,
) -> Result<(StateMap, StateMap), S::Error> {
    let mut events = Events::new();
    auth_graph::load(source, sets.iter().flat_map(StateMap::values).cloned(), &mut events).await?;
    let conflicted_keys: BTreeSet<&StateKey> = sets.iter().flat_map(StateMap::keys).collect();
    let mut keys = keys_read(events.keys(), &events, rules);
    keys.retain(|key| !conflicted_keys.contains(key));
    let agreed = load_agreed(source, keys, &mut events).await?;
    let resolved = resolve_v1::resolve(sets, &agreed, &events, rules);
    Ok((agreed, resolved))
}

/// All that resolution in version 2 reads.
struct Input {
    /// The states, reduced to the keys on which they do not agree.
    sets: Vec<StateMap>,
    /// The agreed state, reduced to the keys that matter.
    agreed: StateMap,
    /// For each state the part of the auth difference in its chain.
    chains: Vec<HashSet<OwnedEventId>>,
    /// Empty before version 2.1.
    subgraph: BTreeSet<OwnedEventId>,
    events: Events,
}

async fn prepare<S: RoomSource>(
    source: &S,
    sets: &[StateMap],
    rules: &RoomVersionRules,
    version: &StateResolutionV2Rules,
) -> Result<Input, ResolveError<S::Error>> {
    if sets.len() > auth_graph::MAX_STATES {
        return Err(ResolveError::TooMuch);
    }
    let mut budget = Budget::new(MAX_READ);
    let mut events = Events::new();
    let conflicted: BTreeSet<OwnedEventId> =
        sets.iter().flat_map(StateMap::values).cloned().collect();
    let failed = ResolveError::Source;
    budget.take(conflicted.len())?;
    auth_graph::load(source, conflicted.iter().cloned(), &mut events).await.map_err(failed)?;
    let with_subgraph = version.consider_conflicted_state_subgraph;
    let Reach { chains, subgraph } =
        auth_graph::reach(source, sets, with_subgraph, &mut events, &mut budget).await?;

    let full_conflicted_set: HashSet<&OwnedEventId> =
        conflicted.iter().chain(chains.iter().flatten()).chain(&subgraph).collect();
    let full_conflicted_set: Vec<OwnedEventId> = full_conflicted_set.into_iter().cloned().collect();
    let mut keys = keys_read(&full_conflicted_set, &events, rules);
    for key in sets.iter().flat_map(StateMap::keys) {
        keys.remove(key);
    }
    let agreed = load_agreed(source, keys, &mut events).await.map_err(failed)?;
    // The mainline runs through the power levels, which may be agreed upon.
    let levels = agreed.get(&(StateEventType::RoomPowerLevels, String::new()));
    let heads = full_conflicted_set.iter().chain(levels);
    auth_graph::load_authority(source, heads, &mut events, &mut budget).await?;
    let room_id = events.values().next().map(|pdu| pdu.room_id.clone());
    let create = room_id.and_then(|id| authorize::create_event_id(&id, &rules.authorization));
    auth_graph::load(source, create, &mut events).await.map_err(failed)?;
    Ok(Input { sets: sets.to_vec(), agreed, chains, subgraph, events })
}

impl Input {
    fn merged(
        &self,
        rules: &RoomVersionRules,
        version: &StateResolutionV2Rules,
    ) -> Result<StateMap, state_res::Error> {
        match self.has_owned_state() {
            true => self.resolve_owned(rules, version),
            false => self.resolve(rules, version),
        }
    }

    fn resolve(
        &self,
        rules: &RoomVersionRules,
        version: &StateResolutionV2Rules,
    ) -> Result<StateMap, state_res::Error> {
        let with_agreed = |set: &StateMap| -> state_res::StateMap<OwnedEventId> {
            set.iter().chain(&self.agreed).map(|(key, id)| (key.clone(), id.clone())).collect()
        };
        let maps: Vec<_> = self.sets.iter().map(with_agreed).collect();
        let chains: Vec<EventIdSet<OwnedEventId>> =
            self.chains.iter().map(|chain| chain.iter().cloned().collect()).collect();
        let resolved = state_res::resolve(
            &rules.authorization,
            version,
            &maps,
            chains,
            |id: &EventId| self.events.get(id).cloned(),
            |_| Some(self.subgraph.iter().cloned().collect()),
        )?;
        Ok(resolved.into_iter().collect())
    }

    /// As [`Input::resolve`], in a room with owned state. The rules that `ruma` applies know none, so it is
    /// hidden from them. The power levels are resolved before it and do not depend on it: with those that
    /// come out it is decided which of it is allowed, and the rest is resolved again.
    fn resolve_owned(
        &self,
        rules: &RoomVersionRules,
        version: &StateResolutionV2Rules,
    ) -> Result<StateMap, state_res::Error> {
        let hidden = |map: &StateMap| -> StateMap {
            map.iter().map(|(key, id)| (owned_state::hidden(key.clone()), id.clone())).collect()
        };
        let hidden_event =
            |(id, pdu): (&OwnedEventId, &Arc<Pdu>)| (id.clone(), owned_state::hidden_event(pdu));
        let mut all = Self {
            sets: self.sets.iter().map(hidden).collect(),
            agreed: hidden(&self.agreed),
            chains: self.chains.clone(),
            subgraph: self.subgraph.clone(),
            events: self.events.iter().map(hidden_event).collect(),
        };
        let resolved = all.resolve(rules, version)?;
        let of_power = power::state_keys().map(|key| {
            let event_id = resolved.get(&key).or_else(|| all.agreed.get(&key))?;
            Some((key, self.events.get(event_id)?.clone()))
        });
        let of_power: State = of_power.into_iter().flatten().collect();
        let may_stand = |id: &OwnedEventId| {
            self.events.get(id).is_none_or(|pdu| owned_state::may_set(pdu, &of_power, rules))
        };
        for set in &mut all.sets {
            set.retain(|_, id| may_stand(id));
        }
        let resolved = all.resolve(rules, version)?;
        Ok(resolved.into_iter().map(|(key, id)| (owned_state::shown(key), id)).collect())
    }

    fn has_owned_state(&self) -> bool {
        let create = |pdu: &&Arc<Pdu>| pdu.kind == TimelineEventType::RoomCreate;
        self.events.values().find(create).is_some_and(|create| owned_state::holds(create))
    }
}

/// The keys that matter when these events are applied to a state: their own, those by which they
/// are authorised, and the power levels, which sort them.
fn keys_read<'a>(
    ids: impl IntoIterator<Item = &'a OwnedEventId>,
    events: &Events,
    rules: &RoomVersionRules,
) -> BTreeSet<StateKey> {
    let mut keys = BTreeSet::from([(StateEventType::RoomPowerLevels, String::new())]);
    for pdu in ids.into_iter().filter_map(|id| events.get(id)) {
        keys.extend(pdu.key());
        keys.extend(authorize::state_keys(pdu, rules).unwrap_or_default());
    }
    keys
}

async fn load_agreed<S: RoomSource>(
    source: &S,
    keys: BTreeSet<StateKey>,
    events: &mut Events,
) -> Result<StateMap, S::Error> {
    let keys: Vec<StateKey> = keys.into_iter().collect();
    let ids = source.agreed(&keys).await?;
    let agreed: StateMap =
        keys.into_iter().zip(ids).filter_map(|(key, id)| Some((key, id?))).collect();
    auth_graph::load(source, agreed.values().cloned(), events).await?;
    Ok(agreed)
}

#[cfg(test)]
mod tests {
    use std::{
        convert::Infallible,
        sync::{
            Arc, Mutex,
            atomic::{AtomicUsize, Ordering},
        },
    };

    use futures_util::FutureExt as _;
    use proptest::prelude::*;
    use ruma::{RoomVersionId, room_id};
    use serde_json::json;

    use super::{
        super::testing::{Room, draft, membership, ranks},
        *,
    };
    use crate::{
        events::Pdu,
        state::{EMPTY_ROOT, Node},
    };

    #[derive(Default)]
    struct Nodes(Mutex<HashMap<i64, Arc<Node>>>);

    impl NodeSource for Nodes {
        type Error = Infallible;

        async fn nodes(&self, ids: &[i64]) -> Result<Vec<Arc<Node>>, Infallible> {
            let nodes = self.0.lock().unwrap();
            Ok(ids.iter().map(|id| nodes[id].clone()).collect())
        }
    }

    fn store(trie: &Trie, nodes: &Nodes, state: &StateMap) -> i64 {
        let puts: Vec<_> = state.iter().map(|(key, id)| (key.clone(), Some(id.clone()))).collect();
        let applied = trie.apply(nodes, EMPTY_ROOT, &puts).now_or_never().unwrap().unwrap();
        for (id, data) in applied.nodes {
            nodes.0.lock().unwrap().insert(id, Arc::new(Node::decode(&data).unwrap()));
        }
        applied.root
    }

    fn states() -> impl Strategy<Value = Vec<StateMap>> {
        let entry = (0..40_u32, 0..3_u32).prop_map(|(key, event)| {
            let key = ("m.room.member".into(), format!("@u{key}:x.org"));
            (key, OwnedEventId::try_from(format!("$e{event}:x.org")).unwrap())
        });
        let state = prop::collection::vec(entry, 0..40);
        prop::collection::vec(state.prop_map(|entries| entries.into_iter().collect()), 0..5)
    }

    proptest! {
        #[test]
        fn disagreements_are_what_is_not_in_every_state(states in states()) {
            let (trie, nodes) = (Trie::new(&[1; 32], room_id!("!r:x.org")), Nodes::default());
            let roots: Vec<i64> = states.iter().map(|state| store(&trie, &nodes, state)).collect();
            let found = disagreements(&trie, &nodes, &roots).now_or_never().unwrap().unwrap();
            let expected: Vec<StateMap> = states
                .iter()
                .map(|state| {
                    let mut state = state.clone();
                    state.retain(|key, id| !states.iter().all(|other| other.get(key) == Some(id)));
                    state
                })
                .collect();
            prop_assert_eq!(found, expected);
        }
    }

    /// A room that counts which events are read.
    struct Counted<'a> {
        room: &'a Room,
        agreed: &'a StateMap,
        read: AtomicUsize,
        searched: AtomicUsize,
    }

    impl RoomSource for Counted<'_> {
        type Error = Infallible;

        async fn events(&self, ids: &[OwnedEventId]) -> Result<Vec<Arc<Pdu>>, Infallible> {
            self.read.fetch_add(ids.len(), Ordering::Relaxed);
            Ok(ids.iter().filter_map(|id| self.room.events.get(id).cloned()).collect())
        }

        async fn ranks(
            &self,
            ids: &[OwnedEventId],
        ) -> Result<HashMap<OwnedEventId, i64>, Infallible> {
            Ok(ranks(ids, &|id| self.room.events.get(id).cloned()))
        }

        async fn agreed(&self, keys: &[StateKey]) -> Result<Vec<Option<OwnedEventId>>, Infallible> {
            Ok(keys.iter().map(|key| self.agreed.get(key).cloned()).collect())
        }

        async fn agreed_citing(&self, _: &[OwnedEventId]) -> Result<Vec<OwnedEventId>, Infallible> {
            self.searched.fetch_add(1, Ordering::Relaxed);
            Ok(self.agreed.values().cloned().collect())
        }
    }

    #[test]
    fn a_conflict_in_a_large_room_reads_little() {
        for version in [RoomVersionId::V1, RoomVersionId::V11, RoomVersionId::V12] {
            let mut room = Room::new(&version);
            for number in 0..300 {
                let user = format!("@user{number}:x.org");
                room.send(membership(&user, &user, "join"));
            }
            let topic =
                |topic| draft("m.room.topic", "@alice:a.org", "", json!({ "topic": topic }));
            let topics = [topic("a"), topic("b")].map(|draft| room.make(draft));
            for topic in &topics {
                room.events.insert(topic.event_id.clone(), topic.clone());
            }
            let sets = topics
                .each_ref()
                .map(|topic| StateMap::from([(topic.key().unwrap(), topic.event_id.clone())]));
            let agreed = room.state.iter().map(|(key, pdu)| (key.clone(), pdu.event_id.clone()));
            let source = Counted {
                room: &room,
                agreed: &agreed.collect(),
                read: AtomicUsize::new(0),
                searched: AtomicUsize::new(0),
            };
            let changes = resolve(&source, &sets, &room.rules).now_or_never().unwrap().unwrap();
            let [(key, Some(winner))] = changes.as_slice() else { panic!("{changes:?}") };
            assert_eq!(Some(key), topics[0].key().as_ref());
            assert!(topics.iter().any(|topic| topic.event_id == *winner));
            assert!(source.read.into_inner() <= 12, "{version}");
            assert_eq!(source.searched.into_inner(), 0);
        }
    }

    #[test]
    fn owned_state_is_merged_by_its_own_rule() {
        const KEY: &str = "@bob:b.org_x";
        let mut room = Room::new(&RoomVersionId::try_from("org.matrix.msc3757.11").unwrap());
        let levels = |users| json!({ "users": users, "state_default": 0 });
        let levels = |users| draft("m.room.power_levels", "@alice:a.org", "", levels(users));
        let old = room.send(levels(json!({ "@alice:a.org": 100, "@carol:c.org": 50 })));
        for user in ["@bob:b.org", "@carol:c.org"] {
            room.send(membership(user, user, "join"));
        }
        let made = |room: &mut Room, draft| {
            let pdu = room.make(draft);
            room.events.insert(pdu.event_id.clone(), pdu.clone());
            pdu
        };
        let set = |sender| draft("org.example", sender, KEY, json!({ "by": sender }));
        let by_bob = made(&mut room, set("@bob:b.org"));
        let by_carol = made(&mut room, set("@carol:c.org"));
        let demoting = made(&mut room, levels(json!({ "@alice:a.org": 100 })));
        let key = by_bob.key().unwrap();
        let levels = old.key().unwrap();
        let at = |key: &StateKey, pdu: &Arc<Pdu>| (key.clone(), pdu.event_id.clone());
        let agreed = room.state.iter().filter(|(key, _)| **key != levels);
        let agreed: StateMap = agreed.map(|(key, pdu)| at(key, pdu)).collect();
        let merged = |sets: [StateMap; 2], agreed: &StateMap| {
            let (read, searched) = (AtomicUsize::new(0), AtomicUsize::new(0));
            let source = Counted { room: &room, agreed, read, searched };
            resolve(&source, &sets, &room.rules).now_or_never().unwrap().unwrap()
        };
        let demoted = [
            StateMap::from([at(&levels, &old), at(&key, &by_carol)]),
            StateMap::from([at(&levels, &demoting)]),
        ];
        let changes = merged(demoted, &agreed);
        let wanted = [
            (levels.clone(), Some(demoting.event_id.clone())),
            (key.clone(), None::<OwnedEventId>),
        ];
        assert!(wanted.iter().all(|it| changes.contains(it)), "{changes:?}");
        let with_levels: StateMap = agreed.into_iter().chain([at(&levels, &old)]).collect();
        let both = [&by_bob, &by_carol].map(|pdu| StateMap::from([at(&key, pdu)]));
        let changes = merged(both, &with_levels);
        let [(changed, Some(winner))] = changes.as_slice() else { panic!("{changes:?}") };
        assert_eq!(*changed, key);
        assert!([&by_bob, &by_carol].iter().any(|pdu| pdu.event_id == *winner));
    }
}
