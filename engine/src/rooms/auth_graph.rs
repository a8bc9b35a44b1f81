//! The graph of `auth_events` as state resolution needs it: chains, their difference, and the
//! conflicted state subgraph.
//!
//! Only what conflicting events lead to is read. Events that all states share lie in every chain;
//! whether one of them has an event of the difference in its chain is searched for last, and only
//! among those that can (see [`RoomSource::agreed_citing`]).

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    future::Future,
    sync::Arc,
};

use ruma::OwnedEventId;

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

/// Reads events and their whole auth chains, as far as they are not known yet.
///
/// An event without state key authorises nothing and is left out.
pub(super) async fn load_chains<S: RoomSource>(
    source: &S,
    heads: impl IntoIterator<Item = OwnedEventId>,
    events: &mut Events,
) -> Result<(), S::Error> {
    let mut asked = HashSet::new();
    let mut wanted: Vec<OwnedEventId> = heads.into_iter().collect();
    loop {
        wanted.retain(|id| !events.contains_key(id) && asked.insert(id.clone()));
        if wanted.is_empty() {
            return Ok(());
        }
        let found = source.events(&wanted).await?;
        wanted = found.iter().flat_map(|pdu| pdu.auth_events.iter().cloned()).collect();
        for pdu in found.into_iter().filter(|pdu| pdu.state_key.is_some()) {
            events.insert(pdu.event_id.clone(), pdu);
        }
    }
}

/// Reads events without their chains, as far as they are not known yet.
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

/// For each state: the events of the auth difference that lie in its full auth chain.
///
/// `sets` are the states reduced to the keys on which they do not agree.
pub(super) async fn auth_difference<S: RoomSource>(
    source: &S,
    sets: &[StateMap],
    events: &Events,
) -> Result<Vec<HashSet<OwnedEventId>>, S::Error> {
    let mut chains: Vec<_> = sets.iter().map(|set| auth_chain(set.values(), events)).collect();
    let mut shared = chains.first().cloned().unwrap_or_default();
    for chain in &chains {
        shared.retain(|id| chain.contains(id));
    }
    let all: BTreeSet<OwnedEventId> = chains.iter().flatten().cloned().collect();
    let conflicted: HashSet<&OwnedEventId> = sets.iter().flat_map(StateMap::values).collect();
    // A conflicted event is in the full conflicted set anyway.
    let candidates: BTreeSet<OwnedEventId> =
        all.into_iter().filter(|id| !shared.contains(id) && !conflicted.contains(id)).collect();
    let in_every_chain = cited_by_agreed(source, &candidates, &shared).await?;
    for chain in &mut chains {
        chain.retain(|id| candidates.contains(id) && !in_every_chain.contains(id));
    }
    Ok(chains)
}

/// Which candidates lie in the auth chain of an event about which all states agree, and with that
/// in the full auth chain of every state.
///
/// `shared` is closed under auth events and holds no candidate, so the search ends there.
async fn cited_by_agreed<S: RoomSource>(
    source: &S,
    candidates: &BTreeSet<OwnedEventId>,
    shared: &HashSet<OwnedEventId>,
) -> Result<HashSet<OwnedEventId>, S::Error> {
    let mut cited = HashSet::new();
    if candidates.is_empty() {
        return Ok(cited);
    }
    let all: Vec<OwnedEventId> = candidates.iter().cloned().collect();
    let mut open = source.agreed_citing(&all).await?;
    let mut seen: HashSet<OwnedEventId> = open.iter().cloned().collect();
    while !open.is_empty() && cited.len() < candidates.len() {
        let found = source.events(&open).await?;
        open.clear();
        for id in found.iter().flat_map(|pdu| &pdu.auth_events) {
            if candidates.contains(id) {
                cited.insert(id.clone());
            }
            if !shared.contains(id) && seen.insert(id.clone()) {
                open.push(id.clone());
            }
        }
    }
    Ok(cited)
}

/// The conflicted state subgraph: all paths along auth events between two conflicted events, ends
/// included. Since room version 12.
///
/// `events` hold the conflicted events and their chains.
pub(super) fn conflicted_subgraph(
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
