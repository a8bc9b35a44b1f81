//! Generated histories: servers of one room act at the same time, hear of each other in any order,
//! and must agree in the end. Along the way every merge of states is compared with the same merge
//! over whole states and chains.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    convert::Infallible,
    sync::Arc,
};

use futures_util::FutureExt as _;
use proptest::prelude::*;
use ruma::{
    OwnedEventId, RoomVersionId,
    events::StateEventType,
    room_version_rules::{RoomVersionRules, StateResolutionVersion},
    state_res::{self, utils::event_id_set::EventIdSet},
};
use serde_json::{Value, json};

use super::{
    auth_graph::{Events, RoomSource, StateMap, auth_chain},
    authorize, checks,
    resolve::resolve,
    resolve_v1,
    testing::{Draft, Room, State, auth_events, build, draft, membership, ranks},
    versions,
};
use crate::{events::Pdu, state::StateKey};

const USERS: [&str; 5] =
    ["@alice:a.org", "@bob:b.org", "@carol:c.org", "@dave:a.org", "@erin:b.org"];
const REPLICAS: usize = 3;

/// One step of a history.
#[derive(Clone, Debug)]
enum Step {
    /// A user does something on a server.
    Act {
        op: u8,
        user: usize,
        target: usize,
        ts: u64,
        /// Build on some older event instead of the newest ones.
        fork: Option<usize>,
        /// Send it even if it is not allowed.
        forge: bool,
    },
    /// One of the messages under way arrives.
    Deliver(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let act = (
        0..12_u8,
        0..USERS.len(),
        0..USERS.len(),
        0..40_u64,
        prop::option::weighted(0.3, 0..64_usize),
        0..8_u8,
    );
    let act = act.prop_map(|(op, user, target, ts, fork, forge)| Step::Act {
        op,
        user,
        target,
        ts: 1_000 + ts,
        fork,
        forge: forge == 0,
    });
    prop_oneof![3 => act, 2 => any::<usize>().prop_map(Step::Deliver)]
}

/// One server's picture of the room.
#[derive(Clone, Default)]
struct Replica {
    events: Events,
    after: HashMap<OwnedEventId, StateMap>,
    tips: BTreeSet<OwnedEventId>,
    waiting: Vec<Arc<Pdu>>,
}

impl Replica {
    fn receive(&mut self, pdu: Arc<Pdu>, rules: &RoomVersionRules) {
        if self.events.contains_key(&pdu.event_id) {
            return;
        }
        self.waiting.push(pdu);
        let ready = |replica: &Self, pdu: &Pdu| {
            pdu.prev_events.iter().chain(&pdu.auth_events).all(|id| replica.events.contains_key(id))
        };
        while let Some(at) = self.waiting.iter().position(|pdu| ready(self, pdu)) {
            let pdu = self.waiting.remove(at);
            self.judge(&pdu, rules);
        }
    }

    fn judge(&mut self, pdu: &Arc<Pdu>, rules: &RoomVersionRules) {
        let before = self.state_after(&pdu.prev_events, rules);
        let lookup = |kind: &StateEventType, state_key: &str| {
            let id = before.get(&(kind.clone(), state_key.to_owned()))?;
            self.events.get(id).cloned()
        };
        let rejected = checks::check_auth_events(pdu, rules, |id| self.events.get(id).cloned())
            .and_then(|()| authorize::check_state(pdu, rules, lookup))
            .is_err();
        let pdu = Arc::new(Pdu { rejected, ..(**pdu).clone() });
        let mut after = before;
        if !rejected {
            after.extend(pdu.key().map(|key| (key, pdu.event_id.clone())));
            self.tips.retain(|tip| !pdu.prev_events.contains(tip));
            self.tips.insert(pdu.event_id.clone());
        }
        self.after.insert(pdu.event_id.clone(), after);
        self.events.insert(pdu.event_id.clone(), pdu);
    }

    fn state_after(&self, ids: &[OwnedEventId], rules: &RoomVersionRules) -> StateMap {
        let states: Vec<&StateMap> = ids.iter().map(|id| &self.after[id]).collect();
        merge(&states, &self.events, rules)
    }

    fn current(&self, rules: &RoomVersionRules) -> StateMap {
        self.state_after(&self.tips.iter().cloned().collect::<Vec<_>>(), rules)
    }

    fn act(
        &self,
        draft: &Draft,
        fork: Option<usize>,
        forge: bool,
        rules: &RoomVersionRules,
    ) -> Option<Arc<Pdu>> {
        let tips: Vec<OwnedEventId> = match fork {
            Some(number) => {
                let accepted = self.events.values().filter(|pdu| !pdu.rejected);
                let mut accepted: Vec<_> = accepted.map(|pdu| pdu.event_id.clone()).collect();
                accepted.sort();
                vec![accepted[number % accepted.len()].clone()]
            }
            None => self.tips.iter().take(10).cloned().collect(),
        };
        let state: State = self
            .state_after(&tips, rules)
            .into_iter()
            .map(|(key, id)| (key, self.events[&id].clone()))
            .collect();
        let room_id = self.events.values().next().map(|pdu| pdu.room_id.clone());
        let prev: Vec<_> = tips.iter().map(|id| self.events[id].clone()).collect();
        let auth = auth_events(draft, &state, rules);
        let pdu = build(draft, room_id.as_ref(), &prev, &auth, rules);
        let allowed = authorize::check_state(&pdu, rules, |kind, key| {
            state.get(&(kind.clone(), key.to_owned())).cloned()
        });
        (forge || allowed.is_ok()).then_some(pdu)
    }
}

/// The events and the agreed state in memory.
struct Memory<'a> {
    events: &'a Events,
    agreed: &'a StateMap,
}

impl RoomSource for Memory<'_> {
    type Error = Infallible;

    async fn events(&self, ids: &[OwnedEventId]) -> Result<Vec<Arc<Pdu>>, Infallible> {
        Ok(ids.iter().filter_map(|id| self.events.get(id).cloned()).collect())
    }

    async fn ranks(&self, ids: &[OwnedEventId]) -> Result<HashMap<OwnedEventId, i64>, Infallible> {
        Ok(ranks(ids, &|id| self.events.get(id).cloned()))
    }

    async fn agreed(&self, keys: &[StateKey]) -> Result<Vec<Option<OwnedEventId>>, Infallible> {
        Ok(keys.iter().map(|key| self.agreed.get(key).cloned()).collect())
    }

    async fn agreed_citing(&self, _: &[OwnedEventId]) -> Result<Vec<OwnedEventId>, Infallible> {
        Ok(self.agreed.values().cloned().collect())
    }
}

/// Merges states the reduced way, and compares with the whole way.
fn merge(states: &[&StateMap], events: &Events, rules: &RoomVersionRules) -> StateMap {
    let Some((first, others)) = states.split_first() else { return StateMap::new() };
    if others.iter().all(|other| other == first) {
        return (*first).clone();
    }
    let mut agreed = (*first).clone();
    agreed.retain(|key, id| others.iter().all(|other| other.get(key) == Some(id)));
    let reduced = |state: &&StateMap| -> StateMap {
        let state = state.iter().filter(|(key, _)| !agreed.contains_key(*key));
        state.map(|(key, id)| (key.clone(), id.clone())).collect()
    };
    let sets: Vec<StateMap> = states.iter().map(reduced).collect();
    let source = Memory { events, agreed: &agreed };
    let changes = resolve(&source, &sets, rules).now_or_never().unwrap().unwrap();
    let mut merged = (*first).clone();
    for (key, id) in changes {
        match id {
            Some(id) => merged.insert(key, id),
            None => merged.remove(&key),
        };
    }
    assert_eq!(merged, merge_whole(states, events, rules), "reduced and whole differ");
    merged
}

fn merge_whole(states: &[&StateMap], events: &Events, rules: &RoomVersionRules) -> StateMap {
    let StateResolutionVersion::V2(version) = &rules.state_res else {
        let states: Vec<StateMap> = states.iter().map(|state| (*state).clone()).collect();
        return resolve_v1::resolve(&states, &StateMap::new(), events, rules);
    };
    let maps: Vec<state_res::StateMap<OwnedEventId>> =
        states.iter().map(|state| (*state).clone().into_iter().collect()).collect();
    let chains = states
        .iter()
        .map(|state| auth_chain(state.values(), events).into_iter().collect::<EventIdSet<_>>());
    let resolved = state_res::resolve(
        &rules.authorization,
        version,
        &maps,
        chains.collect(),
        |id| events.get(id).cloned(),
        |conflicted| Some(subgraph_by_definition(conflicted.values().flatten(), events)),
    );
    resolved.unwrap().into_iter().collect()
}

/// Every event from which a conflicted one can be reached, and that can be reached from one.
fn subgraph_by_definition<'a>(
    conflicted: impl Iterator<Item = &'a OwnedEventId>,
    events: &Events,
) -> EventIdSet<OwnedEventId> {
    let conflicted: HashSet<OwnedEventId> = conflicted.cloned().collect();
    let reached = auth_chain(&conflicted, events);
    let all = events.keys().filter(|id| conflicted.contains(*id) || reached.contains(*id));
    all.filter(|id| {
        conflicted.contains(*id)
            || auth_chain([*id], events).iter().any(|below| conflicted.contains(below))
    })
    .cloned()
    .collect()
}

/// What a user tries to do.
fn attempt(op: u8, user: &str, target: &str, ts: u64, nonce: u64, levels: &Value) -> Draft {
    let mut draft = match op {
        0 => draft("m.room.topic", user, "", json!({ "topic": nonce.to_string() })),
        1 => draft("m.room.name", user, "", json!({ "name": nonce.to_string() })),
        2 | 3 => membership(user, user, "join"),
        4 => membership(user, user, "leave"),
        5 => membership(user, target, "leave"),
        6 => membership(user, target, "ban"),
        7 => membership(user, target, "invite"),
        8 | 9 => {
            let mut levels = levels.clone();
            levels["users"][target] = json!([0, 25, 50, 75][nonce as usize % 4]);
            draft("m.room.power_levels", user, "", levels)
        }
        10 => {
            let rule = if nonce.is_multiple_of(2) { "public" } else { "invite" };
            draft("m.room.join_rules", user, "", json!({ "join_rule": rule }))
        }
        _ => Draft {
            state_key: None,
            ..draft("m.room.message", user, "", json!({ "body": nonce.to_string() }))
        },
    };
    draft.ts = ts;
    draft.nonce = 1_000 + nonce;
    draft
}

struct World {
    rules: RoomVersionRules,
    replicas: Vec<Replica>,
    /// Messages under way: to whom, and what.
    network: Vec<(usize, Arc<Pdu>)>,
    made: u64,
}

impl World {
    fn new(version: &RoomVersionId) -> Self {
        let mut room = Room::new(version);
        room.send(membership(USERS[1], USERS[1], "join"));
        let mut levels = levels(room.get(&StateEventType::RoomPowerLevels, "").as_deref());
        levels["users"][USERS[1]] = json!(50);
        room.send(draft("m.room.power_levels", USERS[0], "", levels));
        room.send(membership(USERS[2], USERS[2], "join"));
        let mut first: Vec<_> = room.events.values().cloned().collect();
        first.sort_by_key(|pdu| pdu.depth);
        let mut replica = Replica::default();
        first.into_iter().for_each(|pdu| replica.receive(pdu, &room.rules));
        assert_eq!(replica.tips.len(), 1);
        Self { rules: room.rules, replicas: vec![replica; REPLICAS], network: vec![], made: 0 }
    }

    fn run(&mut self, step: &Step) {
        match *step {
            Step::Act { op, user, target, ts, fork, forge } => {
                let at = user % REPLICAS;
                let replica = &self.replicas[at];
                let key = (StateEventType::RoomPowerLevels, String::new());
                let current = replica.current(&self.rules);
                let levels = levels(current.get(&key).map(|id| &*replica.events[id]));
                self.made += 1;
                let draft = attempt(op, USERS[user], USERS[target], ts, self.made, &levels);
                let Some(pdu) = replica.act(&draft, fork, forge, &self.rules) else { return };
                for other in (0..REPLICAS).filter(|other| *other != at) {
                    self.network.push((other, pdu.clone()));
                }
                self.replicas[at].receive(pdu, &self.rules);
            }
            Step::Deliver(number) if !self.network.is_empty() => {
                let (to, pdu) = self.network.swap_remove(number % self.network.len());
                self.replicas[to].receive(pdu, &self.rules);
            }
            Step::Deliver(_) => {}
        }
    }

    fn check(&self) {
        let [first, others @ ..] = self.replicas.as_slice() else { unreachable!() };
        let rejected = |replica: &Replica| -> BTreeMap<OwnedEventId, bool> {
            replica.events.iter().map(|(id, pdu)| (id.clone(), pdu.rejected)).collect()
        };
        for other in others {
            assert!(other.waiting.is_empty());
            assert_eq!(rejected(other), rejected(first));
            assert_eq!(other.after, first.after);
            assert_eq!(other.tips, first.tips);
            assert_eq!(other.current(&self.rules), first.current(&self.rules));
        }
    }
}

fn levels(pdu: Option<&Pdu>) -> Value {
    pdu.map_or_else(|| json!({}), |pdu| serde_json::from_str(pdu.content.get()).unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(120))]

    #[test]
    fn every_replica_ends_in_the_same_state(
        version in 0..versions::SUPPORTED.len(),
        steps in prop::collection::vec(step(), 10..70),
    ) {
        let mut world = World::new(&versions::SUPPORTED[version]);
        for step in &steps {
            world.run(step);
        }
        while !world.network.is_empty() {
            world.run(&Step::Deliver(steps.len() * 31));
        }
        world.check();
    }
}
