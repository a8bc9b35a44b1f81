//! The rules of rooms on events that nobody would send: who may do what, and how states merge.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a panic is what is looked for")]

use std::{
    collections::{BTreeMap, HashMap},
    convert::Infallible,
    sync::Arc,
};

use futures_util::FutureExt as _;
use ruma::{
    CanonicalJsonObject, CanonicalJsonValue, EventId, OwnedEventId, RoomVersionId,
    events::{StateEventType, TimelineEventType},
    room_version_rules::RoomVersionRules,
};
use serde_json::{Value, json};
use starling_engine::{
    events::{Canonical, Pdu, hashes},
    rooms::{
        authorize,
        checks::{self, Verdict},
        resolve::{self, ResolveError, RoomSource, StateMap},
        versions,
    },
    state::StateKey,
};

/// How many events an input has.
const MOST_EVENTS: usize = 40;

/// How many states are merged.
const STATES: usize = 3;

/// The first byte chooses the room version, those with owned state included.
fn version(data: &[u8]) -> Option<(RoomVersionRules, &str)> {
    let (first, rest) = data.split_first()?;
    let name = versions::names().nth(usize::from(*first) % versions::names().count())?;
    let version = RoomVersionId::try_from(name).ok()?;
    Some((versions::rules(&version)?, std::str::from_utf8(rest).ok()?))
}

/// The first line is an event that the others, one a line, are to authorise: as the state of the room, and
/// as what it names.
pub(crate) fn authorisation(data: &[u8]) {
    let Some((rules, input)) = version(data) else { return };
    let read = |line| Pdu::from_json(line, &rules).ok().map(Arc::new);
    let mut events = input.lines().take(MOST_EVENTS).filter_map(read);
    let Some(pdu) = events.next() else { return };
    let others: Vec<Arc<Pdu>> = events.collect();
    let fetch = |id: &EventId| named(&pdu, &others, id);
    let state = |kind: &StateEventType, state_key: &str| {
        let key = (kind.clone(), state_key.to_owned());
        others.iter().rfind(|event| event.key().as_ref() == Some(&key)).cloned()
    };
    let verdict = checks::check_authorisation(&pdu, &rules, fetch, state, state);
    assert!(!matches!(verdict, Verdict::SoftFailed(_)), "one state, and two answers");
    if verdict == Verdict::Accepted {
        assert_eq!(checks::check_auth_events(&pdu, &rules, fetch), Ok(()));
    }
    // What it is checked against is all that is ever read of a state.
    let Ok(keys) = authorize::state_keys(&pdu, &rules) else { return };
    let part = |kind: &StateEventType, state_key: &str| {
        let is_read = keys.contains(&(kind.clone(), state_key.to_owned()));
        is_read.then(|| state(kind, state_key)).flatten()
    };
    let whole = authorize::check_state(&pdu, &rules, state);
    assert_eq!(authorize::check_state(&pdu, &rules, part), whole);
}

/// The event of this ID. Nobody guesses the hash of an event that is about to change: what is named and not
/// there is the one at that place, and what the room's ID names is the first create event.
fn named(pdu: &Pdu, others: &[Arc<Pdu>], id: &EventId) -> Option<Arc<Pdu>> {
    let known = others.iter().find(|event| event.event_id == id);
    let at = pdu.auth_events.iter().position(|other| other == id);
    let create = || others.iter().find(|event| event.kind == TimelineEventType::RoomCreate);
    known.or_else(|| others.get(at?)).or_else(create).cloned()
}

/// A room's events, one a line, each authorised by earlier ones and part of some of the states that are
/// merged: `TYPE SENDER STATE_KEY AUTH_EVENTS STATES TIME CONTENT`. The state key `-` is the empty one, the
/// auth events are numbers of lines with commas between, and the states a number with a bit for each. What
/// its auth events forbid is in no state, as in a room, but may be named by others.
pub(crate) fn resolution(data: &[u8]) {
    let Some((rules, input)) = version(data) else { return };
    let mut room = Room { rules, events: Vec::new(), states: vec![BTreeMap::new(); STATES] };
    for line in input.lines().take(MOST_EVENTS) {
        room.add(line);
    }
    let merged = room.merged(&room.states);
    let turned: Vec<StateMap> = room.states.iter().rev().cloned().collect();
    match (merged, room.merged(&turned)) {
        (Ok(one), Ok(other)) => {
            assert_eq!(one, other, "the order of the states decides");
            let known = |id: &OwnedEventId| room.events.iter().any(|event| event.event_id == *id);
            assert!(one.values().flatten().all(known), "an event from nowhere");
        }
        (one, other) => assert_eq!(one.is_err(), other.is_err(), "{one:?}, {other:?}"),
    }
}

/// What comes out: what to put at keys, or take away.
type Merged = BTreeMap<StateKey, Option<OwnedEventId>>;

struct Room {
    rules: RoomVersionRules,
    events: Vec<Arc<Pdu>>,
    states: Vec<StateMap>,
}

impl Room {
    fn add(&mut self, line: &str) {
        let mut parts = line.splitn(7, ' ');
        let mut next = || parts.next().unwrap_or_default();
        let (kind, sender, key, auth, states, ts) =
            (next(), next(), next(), next(), next(), next());
        let key = if key == "-" { "" } else { key };
        let Ok(content) = serde_json::from_str::<Value>(next()) else { return };
        let auth =
            auth.split(',').filter_map(|number| self.events.get(number.parse::<usize>().ok()?));
        let draft = json!({
            "type": kind,
            "sender": sender,
            "state_key": key,
            "content": content,
            "depth": 1,
            "origin_server_ts": ts.parse::<u32>().unwrap_or(0),
            "hashes": { "sha256": "" },
            "signatures": {},
        });
        let Some(mut pdu) = self.sealed(draft, auth.map(|event| &**event)) else { return };
        let fetch = |id: &EventId| self.events.iter().find(|event| event.event_id == id).cloned();
        pdu.rejected = checks::check_auth_events(&pdu, &self.rules, fetch).is_err();
        let pdu = Arc::new(pdu);
        let states = if pdu.rejected { 0 } else { states.parse::<usize>().unwrap_or(0) };
        for (index, state) in self.states.iter_mut().enumerate() {
            if states >> index & 1 == 1 {
                state.extend(pdu.key().map(|key| (key, pdu.event_id.clone())));
            }
        }
        self.events.push(pdu);
    }

    /// The event that a draft becomes; none when it is not one, or is there already.
    fn sealed<'a>(&self, draft: Value, auth: impl Iterator<Item = &'a Pdu>) -> Option<Pdu> {
        let mut event: CanonicalJsonObject = serde_json::from_value(draft).ok()?;
        let is_create =
            event.get("type").and_then(CanonicalJsonValue::as_str) == Some("m.room.create");
        let first = self.events.iter().find(|event| event.kind == TimelineEventType::RoomCreate);
        let names_room = self.rules.authorization.room_create_event_id_as_room_id;
        let room_id = match first {
            Some(create) if names_room && !is_create => create.room_id.to_string(),
            _ => "!room:a.org".to_owned(),
        };
        if !(names_room && is_create) {
            event.insert("room_id".to_owned(), room_id.into());
        }
        if self.rules.event_format.require_event_id {
            let id = format!("$event{}:a.org", self.events.len());
            event.insert("event_id".to_owned(), id.into());
        }
        let prev = self.events.last().filter(|_| !is_create).map(|event| &**event);
        event.insert("prev_events".to_owned(), hashes::references(prev, &self.rules).ok()?);
        event.insert("auth_events".to_owned(), hashes::references(auth, &self.rules).ok()?);
        let pdu = Pdu::from_canonical(Canonical::from(event), &self.rules).ok()?;
        // A room has one create event: of several, which a server could make before version 12, `ruma` takes
        // the creators of whichever it meets first.
        let is_second = is_create && first.is_some();
        let is_known = self.events.iter().any(|event| event.event_id == pdu.event_id);
        (!is_second && !is_known).then_some(pdu)
    }

    fn merged(&self, states: &[StateMap]) -> Result<Merged, ResolveError<Infallible>> {
        let agree =
            |key: &StateKey| states.iter().all(|state| state.get(key) == states[0].get(key));
        let (mut agreed, mut sets) = (states[0].clone(), states.to_vec());
        agreed.retain(|key, _| agree(key));
        for set in &mut sets {
            set.retain(|key, _| !agree(key));
        }
        let ranks = self.events.iter().zip(1..).map(|(event, rank)| (event.event_id.clone(), rank));
        let source = Source { events: &self.events, ranks: ranks.collect(), agreed };
        // So few events are not given to another thread, and all else is in memory.
        let merged = resolve::resolve(&source, &sets, &self.rules).now_or_never().unwrap()?;
        assert!(merged.iter().all(|(key, _)| !source.agreed.contains_key(key)));
        Ok(merged.into_iter().collect())
    }
}

struct Source<'a> {
    events: &'a [Arc<Pdu>],
    ranks: HashMap<OwnedEventId, i64>,
    agreed: StateMap,
}

impl RoomSource for Source<'_> {
    type Error = Infallible;

    async fn events(&self, ids: &[OwnedEventId]) -> Result<Vec<Arc<Pdu>>, Infallible> {
        let wanted = self.events.iter().filter(|event| ids.contains(&event.event_id));
        Ok(wanted.cloned().collect())
    }

    async fn ranks(&self, ids: &[OwnedEventId]) -> Result<HashMap<OwnedEventId, i64>, Infallible> {
        let rank = |id: &OwnedEventId| Some((id.clone(), *self.ranks.get(id)?));
        Ok(ids.iter().filter_map(rank).collect())
    }

    async fn agreed(&self, keys: &[StateKey]) -> Result<Vec<Option<OwnedEventId>>, Infallible> {
        Ok(keys.iter().map(|key| self.agreed.get(key).cloned()).collect())
    }

    async fn agreed_citing(&self, _: &[OwnedEventId]) -> Result<Vec<OwnedEventId>, Infallible> {
        Ok(self.agreed.values().cloned().collect())
    }
}
