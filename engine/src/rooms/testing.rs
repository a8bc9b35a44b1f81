//! Events for tests of the rules: well-formed, unsigned.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use ruma::{
    CanonicalJsonObject, OwnedEventId, OwnedRoomId, RoomVersionId, events::StateEventType,
    room_version_rules::RoomVersionRules, server_name,
};
use serde_json::{Value, json};

use super::{authorize, versions};
use crate::{
    events::{Canonical, Pdu, hashes},
    state::StateKey,
};

/// A state of a room.
pub(crate) type State = BTreeMap<StateKey, Arc<Pdu>>;

/// An event that is not made yet.
#[derive(Clone)]
pub(crate) struct Draft {
    pub(crate) kind: String,
    pub(crate) sender: String,
    pub(crate) state_key: Option<String>,
    pub(crate) content: Value,
    pub(crate) ts: u64,
    /// Makes the name of the event in room versions 1 and 2.
    pub(crate) nonce: u64,
}

pub(crate) fn draft(kind: &str, sender: &str, state_key: &str, content: Value) -> Draft {
    Draft {
        kind: kind.to_owned(),
        sender: sender.to_owned(),
        state_key: Some(state_key.to_owned()),
        content,
        ts: 1,
        nonce: 1,
    }
}

pub(crate) fn membership(sender: &str, target: &str, membership: &str) -> Draft {
    draft("m.room.member", sender, target, json!({ "membership": membership }))
}

pub(crate) fn rules(version: &RoomVersionId) -> RoomVersionRules {
    versions::rules(version).unwrap()
}

/// Makes an event out of a draft.
pub(crate) fn build(
    draft: &Draft,
    room_id: Option<&OwnedRoomId>,
    prev: &[Arc<Pdu>],
    auth: &[Arc<Pdu>],
    rules: &RoomVersionRules,
) -> Arc<Pdu> {
    let server = draft.sender.split_once(':').unwrap().1;
    let mut event = json!({
        "type": draft.kind,
        "sender": draft.sender,
        "content": draft.content,
        "depth": 1 + prev.iter().map(|pdu| pdu.depth).max().unwrap_or(0),
        "origin_server_ts": draft.ts,
        "hashes": { "sha256": "" },
        "signatures": {},
    });
    if let Some(state_key) = &draft.state_key {
        event["state_key"] = json!(state_key);
    }
    if let Some(room_id) = room_id {
        event["room_id"] = json!(room_id);
    }
    if rules.event_format.require_event_id {
        event["event_id"] = json!(format!("$event{}:{server}", draft.nonce));
    }
    let mut event: CanonicalJsonObject = serde_json::from_value(event).unwrap();
    let references =
        |events: &[Arc<Pdu>]| hashes::references(events.iter().map(|pdu| &**pdu), rules).unwrap();
    event.insert("prev_events".to_owned(), references(prev));
    event.insert("auth_events".to_owned(), references(auth));
    Arc::new(Pdu::from_canonical(Canonical::from(event), rules).unwrap())
}

/// The events of a state from which the auth events of a draft are taken.
pub(crate) fn auth_events(draft: &Draft, state: &State, rules: &RoomVersionRules) -> Vec<Arc<Pdu>> {
    let content = serde_json::value::to_raw_value(&draft.content).unwrap();
    let types = authorize::auth_types(
        &draft.kind.as_str().into(),
        draft.sender.as_str().try_into().unwrap(),
        draft.state_key.as_deref(),
        &content,
        rules,
    );
    types.unwrap().iter().filter_map(|key| state.get(key).cloned()).collect()
}

/// A room that grows event by event, each on the one before.
pub(crate) struct Room {
    pub(crate) rules: RoomVersionRules,
    pub(crate) room_id: OwnedRoomId,
    pub(crate) state: State,
    pub(crate) last: Arc<Pdu>,
    pub(crate) events: BTreeMap<OwnedEventId, Arc<Pdu>>,
    ts: u64,
}

impl Room {
    /// A public room of `@alice:a.org`, who has power over it.
    pub(crate) fn new(version: &RoomVersionId) -> Self {
        let rules = rules(version);
        let content = json!({ "creator": "@alice:a.org", "room_version": version });
        let create = draft("m.room.create", "@alice:a.org", "", content);
        let room_id = OwnedRoomId::try_from(format!("!room:{}", server_name!("a.org"))).unwrap();
        let named = rules.authorization.room_create_event_id_as_room_id;
        let create = build(&create, (!named).then_some(&room_id), &[], &[], &rules);
        let mut room = Self {
            room_id: create.room_id.clone(),
            rules,
            state: State::new(),
            last: create.clone(),
            events: BTreeMap::new(),
            ts: 1,
        };
        room.add(create);
        room.send(membership("@alice:a.org", "@alice:a.org", "join"));
        let users = if named { json!({}) } else { json!({ "@alice:a.org": 100 }) };
        let levels = json!({ "users": users, "events": { "m.room.name": 100 } });
        room.send(draft("m.room.power_levels", "@alice:a.org", "", levels));
        let public = json!({ "join_rule": "public" });
        room.send(draft("m.room.join_rules", "@alice:a.org", "", public));
        room
    }

    /// The next events are made after this time.
    pub(crate) fn set_time(&mut self, ts: u64) {
        self.ts = ts;
    }

    /// Makes the next event, whether it is allowed or not.
    pub(crate) fn make(&mut self, draft: Draft) -> Arc<Pdu> {
        self.ts += 1;
        let draft = Draft { ts: self.ts, nonce: self.ts, ..draft };
        let auth = auth_events(&draft, &self.state, &self.rules);
        build(&draft, Some(&self.room_id), std::slice::from_ref(&self.last), &auth, &self.rules)
    }

    /// Makes the next event, which must be allowed, and puts it into the room.
    pub(crate) fn send(&mut self, draft: Draft) -> Arc<Pdu> {
        let pdu = self.make(draft);
        self.check(&pdu).unwrap();
        self.add(pdu.clone());
        pdu
    }

    /// Checks an event by its auth events and by the room's state.
    pub(crate) fn check(&self, pdu: &Pdu) -> Result<(), authorize::Denied> {
        authorize::check_event(pdu, &self.rules, |id| self.events.get(id).cloned())?;
        authorize::check_state(pdu, &self.rules, |kind, key| self.get(kind, key))
    }

    pub(crate) fn get(&self, kind: &StateEventType, state_key: &str) -> Option<Arc<Pdu>> {
        self.state.get(&(kind.clone(), state_key.to_owned())).cloned()
    }

    pub(crate) fn add(&mut self, pdu: Arc<Pdu>) {
        if let Some(key) = pdu.key() {
            self.state.insert(key, pdu.clone());
        }
        self.events.insert(pdu.event_id.clone(), pdu.clone());
        self.last = pdu;
    }
}

/// How events rank, found anew.
pub(crate) fn ranks(
    ids: &[OwnedEventId],
    event: &impl Fn(&OwnedEventId) -> Option<Arc<Pdu>>,
) -> HashMap<OwnedEventId, i64> {
    let mut known = HashMap::new();
    ids.iter().map(|id| (id.clone(), rank(id, event, &mut known))).collect()
}

fn rank(
    id: &OwnedEventId,
    event: &impl Fn(&OwnedEventId) -> Option<Arc<Pdu>>,
    known: &mut HashMap<OwnedEventId, i64>,
) -> i64 {
    if let Some(rank) = known.get(id) {
        return *rank;
    }
    let auth = event(id).map(|pdu| pdu.auth_events.clone()).unwrap_or_default();
    let rank = 1 + auth.iter().map(|id| rank(id, event, known)).max().unwrap_or(0);
    known.insert(id.clone(), rank);
    rank
}
