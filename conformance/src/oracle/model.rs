//! What the maker of a graph takes its states to be, so that the events fit in: auth events are taken from
//! it, and so is what the peer tells who asks for a state. It is `ruma`'s rules over whole states; nothing is
//! compared with it, for the judge is the other server.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use anyhow::{Context as _, Result, anyhow};
use ruma::{
    EventId, MilliSecondsSinceUnixEpoch, OwnedEventId, OwnedRoomId, OwnedUserId, RoomId,
    RoomVersionId, UserId,
    events::{StateEventType, TimelineEventType},
    room_version_rules::{RoomVersionRules, StateResolutionV2Rules},
    state_res::{self, StateMap, utils::event_id_set::EventIdSet},
};
use serde_json::{
    Value,
    value::{RawValue, to_raw_value},
};

use crate::evil::{Event, references};

/// A state: what is in force for each type and state key.
pub(super) type State = StateMap<OwnedEventId>;

/// An event as the rules read it.
#[derive(Clone, Debug)]
pub(super) struct Pdu {
    id: OwnedEventId,
    room: Option<OwnedRoomId>,
    sender: OwnedUserId,
    kind: TimelineEventType,
    state_key: Option<String>,
    content: Box<RawValue>,
    time: MilliSecondsSinceUnixEpoch,
    prev: Vec<OwnedEventId>,
    auth: Vec<OwnedEventId>,
    redacts: Option<OwnedEventId>,
    rejected: bool,
}

/// An event in its place.
#[derive(Clone, Debug)]
pub(super) struct Placed {
    /// The event as it is sent.
    pub(super) event: Event,
    /// The same, as the rules read it.
    pub(super) pdu: Arc<Pdu>,
    /// The state before it.
    pub(super) before: State,
}

/// What the auth chain of a state is, the difference of which is part of what is resolved.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Chain {
    /// What authorises its events: what the specification says.
    Below,
    /// That, and its events themselves: how Synapse reads it.
    Whole,
}

/// A room and the states in it.
#[derive(Debug)]
pub(super) struct Model {
    rules: RoomVersionRules,
    chain: Chain,
    placed: BTreeMap<String, Placed>,
}

impl Model {
    /// A room of this version in which nothing is yet.
    pub(super) fn new(version: &str, chain: Chain) -> Result<Self> {
        let rules = RoomVersionId::try_from(version)?.rules();
        let rules = rules.with_context(|| format!("unknown room version {version}"))?;
        Ok(Self { rules, chain, placed: BTreeMap::new() })
    }

    /// Puts an event after those that it names.
    pub(super) fn place(&mut self, event: &Event) -> Result<Placed> {
        let before = self.before(&references(&event.pdu["prev_events"]))?;
        let mut pdu = Pdu::read(event)?;
        pdu.rejected = !self.allows(&pdu, &before);
        let placed = Placed { event: event.clone(), pdu: Arc::new(pdu), before };
        self.placed.insert(event.id.clone(), placed.clone());
        Ok(placed)
    }

    /// An event that was placed.
    pub(super) fn get(&self, id: &str) -> Option<&Placed> {
        self.placed.get(id)
    }

    /// All events that were placed.
    pub(super) fn all(&self) -> impl Iterator<Item = &Placed> {
        self.placed.values()
    }

    /// The state before an event that follows these.
    pub(super) fn before(&self, prev: &[String]) -> Result<State> {
        let states = prev.iter().map(|id| self.after(id)).collect::<Result<Vec<_>>>()?;
        match states.as_slice() {
            [] => Ok(State::new()),
            [state] => Ok(state.clone()),
            states => self.merge(states),
        }
    }

    /// The ids of the state that authorise such an event.
    pub(super) fn authority(&self, draft: &Value, before: &State) -> Result<Vec<String>> {
        let kind = TimelineEventType::from(draft["type"].as_str().unwrap_or_default());
        let sender = <&UserId>::try_from(draft["sender"].as_str().unwrap_or_default())?;
        let content = to_raw_value(&draft["content"])?;
        let slots = state_res::auth_types_for_event(
            &kind,
            sender,
            draft["state_key"].as_str(),
            &content,
            &self.rules.authorization,
        );
        // Who breaks the rules of content breaks no rule about authority.
        let slots = slots.unwrap_or_default();
        Ok(slots.iter().filter_map(|slot| before.get(slot)).map(ToString::to_string).collect())
    }

    /// Whether the rules allow an event, by what it names and by the state before it.
    pub(super) fn allows(&self, pdu: &Pdu, before: &State) -> bool {
        let rules = &self.rules.authorization;
        let fetch = |id: &EventId| self.pdu(id);
        if state_res::check_state_independent_auth_rules(rules, pdu, fetch).is_err() {
            return false;
        }
        let named: Vec<Arc<Pdu>> = pdu.auth.iter().filter_map(|id| self.pdu(id)).collect();
        let by_name = |kind: &StateEventType, key: &str| {
            let create = *kind == StateEventType::RoomCreate;
            let found = named.iter().find(|it| {
                it.kind.to_string() == kind.to_string() && it.state_key.as_deref() == Some(key)
            });
            // Since version 12 the create event is named by the room.
            found.cloned().or_else(|| if create { self.at(before, kind, key) } else { None })
        };
        state_res::check_state_dependent_auth_rules(rules, pdu, by_name).is_ok()
            && self.permits(pdu, before)
    }

    /// Whether the rules allow an event in a state, whatever it names.
    pub(super) fn permits(&self, pdu: &Pdu, state: &State) -> bool {
        let rules = &self.rules.authorization;
        let at = |kind: &StateEventType, key: &str| self.at(state, kind, key);
        state_res::check_state_dependent_auth_rules(rules, pdu, at).is_ok()
    }

    fn after(&self, id: &str) -> Result<State> {
        let placed = self.get(id).with_context(|| format!("{id} is not placed"))?;
        let mut state = placed.before.clone();
        if let Some(key) = placed.pdu.state_key.clone().filter(|_| !placed.pdu.rejected) {
            let kind = StateEventType::from(placed.pdu.kind.to_string());
            state.insert((kind, key), placed.pdu.id.clone());
        }
        Ok(state)
    }

    fn at(&self, state: &State, kind: &StateEventType, key: &str) -> Option<Arc<Pdu>> {
        self.pdu(state.get(&(kind.clone(), key.to_owned()))?)
    }

    fn pdu(&self, id: &EventId) -> Option<Arc<Pdu>> {
        Some(self.get(id.as_str())?.pdu.clone())
    }

    /// Merges states. In room version 1 by the rules of version 2, which is near enough for fitting in.
    fn merge(&self, states: &[State]) -> Result<State> {
        let rules = self.rules.state_res.v2_rules().unwrap_or(&StateResolutionV2Rules::V2_0);
        let chains = states.iter().map(|state| {
            let own = state.values().filter(|_| self.chain == Chain::Whole).cloned();
            self.chain(state.values()).into_iter().chain(own).collect()
        });
        let merged = state_res::resolve(
            &self.rules.authorization,
            rules,
            states,
            chains.collect::<Vec<EventIdSet<_>>>(),
            |id| self.pdu(id),
            |conflict| Some(self.between(conflict)),
        );
        merged.map_err(|error| anyhow!("the states cannot be merged: {error}"))
    }

    /// The events of a conflict with all that authorises them, as far as it rests on the conflict itself.
    fn between(&self, conflict: &StateMap<Vec<OwnedEventId>>) -> EventIdSet<OwnedEventId> {
        let ends: BTreeSet<OwnedEventId> = conflict.values().flatten().cloned().collect();
        let mut all = self.chain(&ends);
        all.extend(ends.iter().cloned());
        let rests = |id: &OwnedEventId| ends.contains(id) || !self.chain([id]).is_disjoint(&ends);
        all.into_iter().filter(rests).collect()
    }

    /// What authorises events, and what authorises that.
    fn chain<'a>(&self, of: impl IntoIterator<Item = &'a OwnedEventId>) -> BTreeSet<OwnedEventId> {
        let named = |id: &EventId| self.pdu(id).map(|pdu| pdu.auth.clone()).unwrap_or_default();
        let mut open: Vec<OwnedEventId> = of.into_iter().flat_map(|id| named(id)).collect();
        let mut chain = BTreeSet::new();
        while let Some(id) = open.pop() {
            if chain.insert(id.clone()) {
                open.extend(named(&id));
            }
        }
        chain
    }
}

impl Pdu {
    /// Reads an event; it is not rejected until somebody says so.
    pub(super) fn read(event: &Event) -> Result<Self> {
        let pdu = &event.pdu;
        let ids = |list: &Value| -> Result<Vec<OwnedEventId>> {
            references(list).into_iter().map(|id| Ok(OwnedEventId::try_from(id)?)).collect()
        };
        let redacts = pdu["redacts"].as_str().or_else(|| pdu["content"]["redacts"].as_str());
        let time = pdu["origin_server_ts"].as_u64().context("no time")?;
        Ok(Self {
            id: event.id.clone().try_into()?,
            room: pdu["room_id"].as_str().map(OwnedRoomId::try_from).transpose()?,
            sender: pdu["sender"].as_str().unwrap_or_default().try_into()?,
            kind: event.kind().into(),
            state_key: event.state_key().map(str::to_owned),
            content: to_raw_value(&pdu["content"])?,
            time: MilliSecondsSinceUnixEpoch(time.try_into()?),
            prev: ids(&pdu["prev_events"])?,
            auth: ids(&pdu["auth_events"])?,
            redacts: redacts.map(OwnedEventId::try_from).transpose()?,
            rejected: false,
        })
    }

    /// Whether the model takes it to be rejected.
    pub(super) fn is_rejected(&self) -> bool {
        self.rejected
    }

    /// The time that it bears, in milliseconds.
    pub(super) fn time(&self) -> u64 {
        self.time.0.into()
    }
}

impl state_res::Event for Pdu {
    type Id = OwnedEventId;

    fn event_id(&self) -> &Self::Id {
        &self.id
    }

    fn room_id(&self) -> Option<&RoomId> {
        self.room.as_deref()
    }

    fn sender(&self) -> &UserId {
        &self.sender
    }

    fn origin_server_ts(&self) -> MilliSecondsSinceUnixEpoch {
        self.time
    }

    fn event_type(&self) -> &TimelineEventType {
        &self.kind
    }

    fn content(&self) -> &RawValue {
        &self.content
    }

    fn state_key(&self) -> Option<&str> {
        self.state_key.as_deref()
    }

    fn prev_events(&self) -> Box<dyn DoubleEndedIterator<Item = &Self::Id> + '_> {
        Box::new(self.prev.iter())
    }

    fn auth_events(&self) -> Box<dyn DoubleEndedIterator<Item = &Self::Id> + '_> {
        Box::new(self.auth.iter())
    }

    fn redacts(&self) -> Option<&Self::Id> {
        self.redacts.as_ref()
    }

    fn rejected(&self) -> bool {
        self.rejected
    }
}
