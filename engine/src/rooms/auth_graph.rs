//! The graph of `auth_events` as state resolution needs it: chains, their difference, and the
//! conflicted state subgraph.
//!
//! Only what conflicting events lead to is read, and only down to where all states agree: every event
//! ranks higher than those that authorise it, so that a walk from high ranks to low ones knows when it
//! is there ([`Walk`]). Events that all states share lie in every chain; whether one of them has an
//! event of the difference in its chain is searched for last, and only among those that can (see
//! [`RoomSource::agreed_citing`]).

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    future::Future,
    sync::Arc,
};

use ruma::{OwnedEventId, events::TimelineEventType};

use super::resolve::ResolveError;
use crate::{events::Pdu, state::StateKey};

/// A state of a room, or a part of one: events by key.
pub type StateMap = BTreeMap<StateKey, OwnedEventId>;

/// The events of one room by ID.
pub type Events = HashMap<OwnedEventId, Arc<Pdu>>;

/// Where state resolution reads from: a cache over the database, for one room and one conflict.
pub trait RoomSource: Sync {
    /// Why something could not be read.
    type Error;

    /// Reads events, in any order. One that is not there is left out.
    fn events(
        &self,
        ids: &[OwnedEventId],
    ) -> impl Future<Output = Result<Vec<Arc<Pdu>>, Self::Error>> + Send;

    /// How events rank: each higher than those that authorise it ([`super::auth_ranks`]).
    fn ranks(
        &self,
        ids: &[OwnedEventId],
    ) -> impl Future<Output = Result<HashMap<OwnedEventId, i64>, Self::Error>> + Send;

    /// The events at some keys about which all states agree, in the order of the keys.
    fn agreed(
        &self,
        keys: &[StateKey],
    ) -> impl Future<Output = Result<Vec<Option<OwnedEventId>>, Self::Error>> + Send;

    /// The events about which all states agree and that may have one of the candidates in their
    /// auth chain. All events of the agreed state are a right answer. Those that were stored before
    /// every candidate can be left out: an event is stored after its auth events.
    fn agreed_citing(
        &self,
        candidates: &[OwnedEventId],
    ) -> impl Future<Output = Result<Vec<OwnedEventId>, Self::Error>> + Send;
}

/// How much resolving one conflict may read. What a stranger's events make us walk through ends
/// somewhere.
#[derive(Debug)]
pub(super) struct Budget(usize);

impl Budget {
    pub(super) fn new(events: usize) -> Self {
        Self(events)
    }

    pub(super) fn take<E>(&mut self, count: usize) -> Result<(), ResolveError<E>> {
        self.0 = self.0.checked_sub(count).ok_or(ResolveError::TooMuch)?;
        Ok(())
    }
}

/// Reads events without their chains, as far as they are not known yet.
///
/// An event without state key authorises nothing and is left out.
pub(super) async fn load<S: RoomSource>(
    source: &S,
    ids: impl IntoIterator<Item = OwnedEventId>,
    events: &mut Events,
) -> Result<(), S::Error> {
    let wanted: BTreeSet<OwnedEventId> =
        ids.into_iter().filter(|id| !events.contains_key(id)).collect();
    if wanted.is_empty() {
        return Ok(());
    }
    let wanted: Vec<OwnedEventId> = wanted.into_iter().collect();
    for pdu in source.events(&wanted).await?.into_iter().filter(|pdu| pdu.state_key.is_some()) {
        events.insert(pdu.event_id.clone(), pdu);
    }
    Ok(())
}

/// Reads what authorises some events, and the power levels by which those were authorised, and so on
/// to the first ones: what sorting and checking these events reads.
pub(super) async fn load_authority<S: RoomSource>(
    source: &S,
    of: impl IntoIterator<Item = &OwnedEventId>,
    events: &mut Events,
    budget: &mut Budget,
) -> Result<(), ResolveError<S::Error>> {
    let mut seen = HashSet::new();
    let mut open: Vec<OwnedEventId> = of.into_iter().cloned().collect();
    while !open.is_empty() {
        let below: Vec<OwnedEventId> = open
            .drain(..)
            .filter_map(|id| events.get(&id).cloned())
            .flat_map(|pdu| pdu.auth_events.clone())
            .filter(|id| seen.insert(id.clone()))
            .collect();
        budget.take(below.len())?;
        load(source, below.iter().cloned(), events).await.map_err(ResolveError::Source)?;
        let is_power = |id: &OwnedEventId| {
            events.get(id).is_some_and(|pdu| pdu.kind == TimelineEventType::RoomPowerLevels)
        };
        open.extend(below.into_iter().filter(is_power));
    }
    Ok(())
}

/// The union of the auth chains of some events; an event is not in its own chain.
pub(super) fn auth_chain<'a>(
    heads: impl IntoIterator<Item = &'a OwnedEventId>,
    events: &Events,
) -> HashSet<OwnedEventId> {
    let mut chain = HashSet::new();
    let mut open: Vec<&Arc<Pdu>> = heads.into_iter().filter_map(|id| events.get(id)).collect();
    while let Some(pdu) = open.pop() {
        for id in &pdu.auth_events {
            if chain.insert(id.clone()) {
                open.extend(events.get(id));
            }
        }
    }
    chain
}

/// What conflicting states reach by way of auth events, as far as they do not all reach it.
#[derive(Debug, Default)]
pub(super) struct Reach {
    /// For each state: the events of the auth difference that lie in its full auth chain.
    pub(super) chains: Vec<HashSet<OwnedEventId>>,
    /// The conflicted state subgraph, if it was asked for.
    pub(super) subgraph: BTreeSet<OwnedEventId>,
}

/// Which states reach an event, a bit for each.
type Mask = u64;

/// How many states are merged at most.
pub(super) const MAX_STATES: usize = Mask::BITS as usize;

/// Walks down from the conflicted events, which are known, to where all states agree.
///
/// `sets` are the states reduced to the keys on which they do not agree.
pub(super) async fn reach<S: RoomSource>(
    source: &S,
    sets: &[StateMap],
    with_subgraph: bool,
    events: &mut Events,
    budget: &mut Budget,
) -> Result<Reach, ResolveError<S::Error>> {
    let conflicted: BTreeSet<OwnedEventId> =
        sets.iter().flat_map(StateMap::values).cloned().collect();
    let walk = Walk::begin(source, sets, &conflicted, with_subgraph, events).await?;
    let masks = walk.run(source, events, budget).await?;
    let full = full(sets.len());
    // A conflicted event is in the full conflicted set anyway.
    let candidates: BTreeSet<OwnedEventId> = masks
        .iter()
        .filter(|(id, mask)| **mask != full && !conflicted.contains(*id))
        .map(|(id, _)| id.clone())
        .collect();
    let in_every_chain = cited_by_agreed(source, &candidates, budget).await?;
    let in_chain = |set: usize| {
        let reached = |id: &&OwnedEventId| masks.get(*id).is_some_and(|mask| mask & bit(set) != 0);
        let chain = candidates.iter().filter(reached);
        chain.filter(|id| !in_every_chain.contains(*id)).cloned().collect()
    };
    let chains = (0..sets.len()).map(in_chain).collect();
    let subgraph = match with_subgraph {
        true => conflicted_subgraph(&conflicted, events),
        false => BTreeSet::new(),
    };
    Ok(Reach { chains, subgraph })
}

fn bit(set: usize) -> Mask {
    u32::try_from(set).ok().and_then(|set| Mask::checked_shl(1, set)).unwrap_or(0)
}

fn full(sets: usize) -> Mask {
    (0..sets).fold(0, |mask, set| mask | bit(set))
}

/// A walk from high ranks to low ones. When an event is taken, all that cite it were, so that it is
/// known which states reach it. Once all that is left is reached by all, so is all that is below.
struct Walk {
    masks: HashMap<OwnedEventId, Mask>,
    open: BTreeSet<(i64, OwnedEventId)>,
    /// How many of the open ones are not reached by all states.
    partial: usize,
    full: Mask,
    /// Everything above this rank is walked through in any case.
    down_to: i64,
}

impl Walk {
    async fn begin<S: RoomSource>(
        source: &S,
        sets: &[StateMap],
        conflicted: &BTreeSet<OwnedEventId>,
        with_subgraph: bool,
        events: &Events,
    ) -> Result<Self, ResolveError<S::Error>> {
        let mut down_to = i64::MAX;
        if with_subgraph {
            let ids: Vec<_> = conflicted.iter().cloned().collect();
            let ranks = source.ranks(&ids).await.map_err(ResolveError::Source)?;
            down_to = ranks.values().min().copied().unwrap_or(i64::MAX);
        }
        let mut walk = Self {
            masks: HashMap::new(),
            open: BTreeSet::new(),
            partial: 0,
            full: full(sets.len()),
            down_to,
        };
        let mut reached: HashMap<OwnedEventId, Mask> = HashMap::new();
        for (index, set) in sets.iter().enumerate() {
            for pdu in set.values().filter_map(|id| events.get(id)) {
                for id in &pdu.auth_events {
                    *reached.entry(id.clone()).or_default() |= bit(index);
                }
            }
        }
        walk.note(source, reached).await?;
        Ok(walk)
    }

    async fn run<S: RoomSource>(
        mut self,
        source: &S,
        events: &mut Events,
        budget: &mut Budget,
    ) -> Result<HashMap<OwnedEventId, Mask>, ResolveError<S::Error>> {
        while let Some((rank, _)) = self.open.last().cloned() {
            if self.partial == 0 && rank <= self.down_to {
                break;
            }
            let taken = self.take_rank(rank);
            budget.take(taken.len())?;
            load(source, taken.iter().cloned(), events).await.map_err(ResolveError::Source)?;
            let mut reached: HashMap<OwnedEventId, Mask> = HashMap::new();
            for id in taken {
                let mask = self.masks.get(&id).copied().unwrap_or_default();
                for below in events.get(&id).into_iter().flat_map(|pdu| &pdu.auth_events) {
                    *reached.entry(below.clone()).or_default() |= mask;
                }
            }
            self.note(source, reached).await?;
        }
        Ok(self.masks)
    }

    /// Takes all open events of a rank: none of them cites another.
    fn take_rank(&mut self, rank: i64) -> Vec<OwnedEventId> {
        let mut taken = Vec::new();
        while self.open.last().is_some_and(|(other, _)| *other == rank) {
            let Some((_, id)) = self.open.pop_last() else { break };
            if self.masks.get(&id) != Some(&self.full) {
                self.partial = self.partial.saturating_sub(1);
            }
            taken.push(id);
        }
        taken
    }

    async fn note<S: RoomSource>(
        &mut self,
        source: &S,
        reached: HashMap<OwnedEventId, Mask>,
    ) -> Result<(), ResolveError<S::Error>> {
        let new: Vec<OwnedEventId> =
            reached.keys().filter(|id| !self.masks.contains_key(*id)).cloned().collect();
        let ranks = source.ranks(&new).await.map_err(ResolveError::Source)?;
        for id in new {
            self.masks.insert(id.clone(), 0);
            self.partial += 1;
            let rank = ranks.get(&id).copied().unwrap_or(0);
            self.open.insert((rank, id));
        }
        for (id, more) in reached {
            let Some(mask) = self.masks.get_mut(&id) else { continue };
            let before = *mask;
            *mask |= more;
            if *mask == self.full && before != self.full {
                self.partial = self.partial.saturating_sub(1);
            }
        }
        Ok(())
    }
}

/// Which candidates lie in the auth chain of an event about which all states agree, and with that
/// in the full auth chain of every state. What ranks no higher than the lowest candidate cites none.
async fn cited_by_agreed<S: RoomSource>(
    source: &S,
    candidates: &BTreeSet<OwnedEventId>,
    budget: &mut Budget,
) -> Result<HashSet<OwnedEventId>, ResolveError<S::Error>> {
    let mut cited = HashSet::new();
    if candidates.is_empty() {
        return Ok(cited);
    }
    let all: Vec<OwnedEventId> = candidates.iter().cloned().collect();
    let ranks = source.ranks(&all).await.map_err(ResolveError::Source)?;
    let lowest = ranks.values().min().copied().unwrap_or(0);
    let agreed = source.agreed_citing(&all).await.map_err(ResolveError::Source)?;
    let mut seen: HashSet<OwnedEventId> = agreed.iter().cloned().collect();
    let mut open = above(source, agreed, lowest).await?;
    while !open.is_empty() && cited.len() < candidates.len() {
        budget.take(open.len())?;
        let found = source.events(&open).await.map_err(ResolveError::Source)?;
        let mut below = Vec::new();
        for id in found.iter().flat_map(|pdu| &pdu.auth_events) {
            if candidates.contains(id) {
                cited.insert(id.clone());
            }
            if seen.insert(id.clone()) {
                below.push(id.clone());
            }
        }
        open = above(source, below, lowest).await?;
    }
    Ok(cited)
}

/// Those of the events that rank higher than `lowest`.
async fn above<S: RoomSource>(
    source: &S,
    mut ids: Vec<OwnedEventId>,
    lowest: i64,
) -> Result<Vec<OwnedEventId>, ResolveError<S::Error>> {
    let ranks = source.ranks(&ids).await.map_err(ResolveError::Source)?;
    ids.retain(|id| ranks.get(id).is_some_and(|rank| *rank > lowest));
    Ok(ids)
}

/// The conflicted state subgraph: all paths along auth events between two conflicted events, ends
/// included. Since room version 12.
///
/// `events` hold the conflicted events, and of their chains all that ranks higher than the lowest.
fn conflicted_subgraph(
    conflicted: &BTreeSet<OwnedEventId>,
    events: &Events,
) -> BTreeSet<OwnedEventId> {
    let below = auth_chain(conflicted, events);
    let mut citing: HashMap<&OwnedEventId, Vec<&OwnedEventId>> = HashMap::new();
    for (id, pdu) in events.iter().filter(|(id, _)| below.contains(*id) || conflicted.contains(*id))
    {
        for auth_event in &pdu.auth_events {
            citing.entry(auth_event).or_default().push(id);
        }
    }
    // Everything looked at is reached from a conflicted event; what also reaches one is on a path.
    let mut subgraph: BTreeSet<&OwnedEventId> = conflicted.iter().collect();
    let mut open: Vec<&OwnedEventId> = conflicted.iter().collect();
    while let Some(id) = open.pop() {
        for above in citing.get(id).into_iter().flatten() {
            if subgraph.insert(above) {
                open.push(above);
            }
        }
    }
    subgraph.into_iter().cloned().collect()
}
