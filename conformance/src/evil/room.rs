//! A room as the peer sees it: enough to write events that fit in, and to serve its history.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::event::{Event, names_itself, rules};

/// A state: (type, state key) → event id.
type State = BTreeMap<(String, String), String>;

/// A room, shared between a test and the peer that serves it.
#[derive(Clone, Debug)]
pub struct Room {
    /// The room id.
    pub id: String,
    /// The room version.
    pub version: String,
    view: Arc<Mutex<View>>,
}

#[derive(Clone, Debug, Default)]
struct View {
    events: BTreeMap<String, Event>,
    /// The state before each event that came after the room was first seen.
    before: BTreeMap<String, State>,
    /// Ids in the order in which they were seen.
    order: Vec<String>,
    state: State,
    extremities: Vec<String>,
}

impl Room {
    /// A room that nothing is known of yet.
    pub fn empty(id: &str, version: &str) -> Self {
        Self { id: id.to_owned(), version: version.to_owned(), view: Arc::default() }
    }

    /// The same room as somebody sees it who hears nothing more of the others from now on.
    pub fn branch(&self) -> Self {
        let view = Arc::new(Mutex::new(self.view().clone()));
        Self { id: self.id.clone(), version: self.version.clone(), view }
    }

    /// Begins with a state that another server told, its auth events included.
    pub fn learn(&self, state: Vec<Event>, auth: Vec<Event>) {
        let mut view = self.view();
        for event in auth {
            view.events.insert(event.id.clone(), event);
        }
        for event in state {
            let key = state_slot(&event).unwrap_or_default();
            view.state.insert(key, event.id.clone());
            view.events.insert(event.id.clone(), event);
        }
    }

    /// Takes an event in: it is the latest one now, and its state is the room's.
    pub fn add(&self, event: &Event) {
        let mut view = self.view();
        if view.order.contains(&event.id) {
            return;
        }
        let before = view.state.clone();
        view.before.insert(event.id.clone(), before);
        view.order.push(event.id.clone());
        let previous = references(&event.pdu["prev_events"]);
        view.extremities.retain(|id| !previous.contains(id));
        view.extremities.push(event.id.clone());
        if let Some(slot) = state_slot(event) {
            view.state.insert(slot, event.id.clone());
        }
        view.events.insert(event.id.clone(), event.clone());
    }

    /// Keeps an event to refer to it, without taking it into the room.
    pub fn keep(&self, event: &Event) {
        self.view().events.insert(event.id.clone(), event.clone());
    }

    /// Keeps an event that has this state before it, (type, state key) → event id, to tell both to others,
    /// without taking it into the room.
    pub fn place(
        &self,
        event: &Event,
        before: impl IntoIterator<Item = ((String, String), String)>,
    ) {
        let mut view = self.view();
        view.before.insert(event.id.clone(), before.into_iter().collect());
        view.events.insert(event.id.clone(), event.clone());
    }

    /// A message event of `sender` that fits in at the end of the room, not sealed yet.
    pub fn draft(&self, sender: &str, kind: &str, content: Value) -> Result<Value> {
        self.write(sender, kind, None, content)
    }

    /// A state event of `sender` that fits in at the end of the room, not sealed yet.
    pub fn state_draft(
        &self,
        sender: &str,
        kind: &str,
        state_key: &str,
        content: Value,
    ) -> Result<Value> {
        self.write(sender, kind, Some(state_key), content)
    }

    /// A text message of `sender`, not sealed yet.
    pub fn message(&self, sender: &str, body: &str) -> Result<Value> {
        self.draft(sender, "m.room.message", json!({ "msgtype": "m.text", "body": body }))
    }

    /// A change of membership, not sealed yet.
    pub fn member(&self, sender: &str, user: &str, membership: &str) -> Result<Value> {
        self.state_draft(sender, "m.room.member", user, json!({ "membership": membership }))
    }

    /// References to events as `prev_events` and `auth_events` hold them in this room version.
    pub fn references<'a>(&self, ids: impl IntoIterator<Item = &'a str>) -> Result<Value> {
        let with_hash = names_itself(&rules(&self.version)?);
        let view = self.view();
        let reference = |id: &str| {
            if !with_hash {
                return json!(id);
            }
            let hash = view.events.get(id).map(|event| event.reference_hash.clone());
            json!([id, { "sha256": hash.unwrap_or_default() }])
        };
        Ok(ids.into_iter().map(reference).collect())
    }

    /// The event in force for a state key.
    pub fn state_event(&self, kind: &str, state_key: &str) -> Option<Event> {
        let view = self.view();
        let id = view.state.get(&(kind.to_owned(), state_key.to_owned()))?;
        view.events.get(id).cloned()
    }

    /// The id of the event in force for a state key; fails when there is none.
    pub fn state_id(&self, kind: &str, state_key: &str) -> Result<String> {
        let event = self.state_event(kind, state_key);
        Ok(event.with_context(|| format!("no {kind} '{state_key}' in {}", self.id))?.id)
    }

    /// One event.
    pub fn event(&self, id: &str) -> Option<Event> {
        self.view().events.get(id).cloned()
    }

    /// The latest events, which the next one follows.
    pub fn extremities(&self) -> Vec<String> {
        self.view().extremities.clone()
    }

    /// All events that were seen one by one, in their order.
    pub fn timeline(&self) -> Vec<Event> {
        let view = self.view();
        view.order.iter().filter_map(|id| view.events.get(id)).cloned().collect()
    }

    /// The state before an event, or the current one when the event is not known.
    pub(super) fn state_before(&self, id: &str) -> Vec<Event> {
        let view = self.view();
        let state = view.before.get(id).unwrap_or(&view.state);
        state.values().filter_map(|id| view.events.get(id)).cloned().collect()
    }

    /// The events that these ones rest on, by way of `auth_events`, themselves left out.
    pub(super) fn auth_chain<'a>(&self, events: impl IntoIterator<Item = &'a Event>) -> Vec<Event> {
        let view = self.view();
        let mut waiting: Vec<String> =
            events.into_iter().flat_map(|event| references(&event.pdu["auth_events"])).collect();
        let mut chain = BTreeSet::new();
        while let Some(id) = waiting.pop() {
            if let Some(event) = view.events.get(&id)
                && chain.insert(id)
            {
                waiting.extend(references(&event.pdu["auth_events"]));
            }
        }
        chain.iter().filter_map(|id| view.events.get(id)).cloned().collect()
    }

    /// Up to `limit` events before and including these, latest first.
    pub(super) fn history(&self, from: &[String], stop: &[String], limit: usize) -> Vec<Event> {
        let view = self.view();
        let mut waiting: Vec<String> = from.to_vec();
        let mut seen: BTreeSet<String> = stop.iter().cloned().collect();
        let mut found = Vec::new();
        while !waiting.is_empty() && found.len() < limit {
            let id = waiting.remove(0);
            let Some(event) = view.events.get(&id) else { continue };
            if seen.insert(id) {
                waiting.extend(references(&event.pdu["prev_events"]));
                found.push(event.clone());
            }
        }
        found
    }

    fn write(
        &self,
        sender: &str,
        kind: &str,
        state_key: Option<&str>,
        content: Value,
    ) -> Result<Value> {
        let previous = self.extremities();
        let authority = self.authority(sender, kind, state_key, &content)?;
        let origin = sender.split_once(':').map(|(_, server)| server).unwrap_or_default();
        let mut draft = json!({
            "type": kind,
            "sender": sender,
            "room_id": self.id,
            "content": content,
            "depth": self.next_depth(&previous),
            "origin": origin,
            "origin_server_ts": now(),
            "prev_events": self.references(previous.iter().map(String::as_str))?,
            "auth_events": self.references(authority.iter().map(String::as_str))?,
        });
        if let Some(state_key) = state_key {
            draft["state_key"] = state_key.into();
        }
        Ok(draft)
    }

    fn next_depth(&self, previous: &[String]) -> i64 {
        let view = self.view();
        let depths = previous.iter().filter_map(|id| view.events.get(id)?.pdu["depth"].as_i64());
        depths.max().unwrap_or_default() + 1
    }

    /// The events that show the sender's right.
    /// <https://spec.matrix.org/v1.19/server-server-api/#auth-events-selection>
    fn authority(
        &self,
        sender: &str,
        kind: &str,
        state_key: Option<&str>,
        content: &Value,
    ) -> Result<Vec<String>> {
        if kind == "m.room.create" {
            return Ok(Vec::new());
        }
        let mut slots = vec![("m.room.power_levels", ""), ("m.room.member", sender)];
        if !rules(&self.version)?.authorization.room_create_event_id_as_room_id {
            slots.push(("m.room.create", ""));
        }
        if kind == "m.room.member" {
            slots.push(("m.room.member", state_key.unwrap_or_default()));
            if matches!(content["membership"].as_str(), Some("join" | "invite" | "knock")) {
                slots.push(("m.room.join_rules", ""));
            }
        }
        let view = self.view();
        let slot =
            |(kind, key): (&str, &str)| view.state.get(&(kind.to_owned(), key.to_owned())).cloned();
        let ids: BTreeSet<String> = slots.into_iter().filter_map(slot).collect();
        Ok(ids.into_iter().collect())
    }

    fn view(&self) -> MutexGuard<'_, View> {
        self.view.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The ids in a list of references of either form.
pub fn references(list: &Value) -> Vec<String> {
    let items = list.as_array().map(Vec::as_slice).unwrap_or_default();
    let id = |item: &Value| item.as_str().or_else(|| item[0].as_str()).map(str::to_owned);
    items.iter().filter_map(id).collect()
}

fn state_slot(event: &Event) -> Option<(String, String)> {
    Some((event.kind().to_owned(), event.state_key()?.to_owned()))
}

/// Milliseconds since 1970.
#[expect(clippy::disallowed_methods, reason = "other servers compare with their own clocks")]
pub fn now() -> u64 {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(elapsed.as_millis()).unwrap_or_default()
}
