//! Where Synapse departs from what is asked of it, known by rule. `docs/conformance.md` says why each is no fault
//! of Starling's.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use serde_json::Value;

use super::{
    graph::Graph,
    model::{Model, State},
    stage::View,
};
use crate::evil::{Event, references};

/// What is expected to differ.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// Events of which the oracle says nothing.
    pub(super) untold: BTreeSet<String>,
    /// Events that users of the oracle are not shown in any case, or by one reading of the rules.
    pub(super) hidden: BTreeSet<String>,
    /// Events that the oracle redacts by what Starling took in softly.
    pub(super) redacted: BTreeSet<String>,
    /// Whether nobody could tie the ends of the graph together.
    pub(super) is_untied: bool,
    /// Events that are accepted by one reading of the rules and not by the other.
    pub(super) disputed: BTreeSet<String>,
    /// The states before events by either reading, where they differ.
    pub(super) states: BTreeMap<String, (BTreeSet<String>, BTreeSet<String>)>,
    /// The state at the end by either reading, where they differ.
    pub(super) end: BTreeMap<(String, String), (Option<String>, Option<String>)>,
}

impl Known {
    /// What is expected to differ for a graph that Starling and the oracle saw so.
    pub(super) fn of(graph: &Graph, starling: &View, oracle: &View) -> Result<Self> {
        let mut known = Self { untold: withheld(graph, oracle), ..Self::default() };
        // Synapse shows nobody what aliases servers say the room has.
        let aliases = graph.events.iter().filter(|event| event.kind() == "m.room.aliases");
        known.hidden.extend(aliases.map(|event| event.id.clone()));
        let hidden = graph.events.iter().filter(|event| {
            event.kind() == "m.room.redaction"
                && oracle.accepted.contains(&event.id)
                && !starling.shown.contains(&event.id)
        });
        known.redacted.extend(hidden.filter_map(redacted_by).map(str::to_owned));
        let (one, other) = (softly(graph, &graph.model)?, softly(graph, &graph.whole)?);
        known.hidden.extend(one.symmetric_difference(&other).cloned());
        for event in graph.events.iter().chain([&graph.probe]) {
            let (one, other) = (graph.model.get(&event.id), graph.whole.get(&event.id));
            let (Some(one), Some(other)) = (one, other) else { continue };
            if one.pdu.is_rejected() != other.pdu.is_rejected() {
                known.disputed.insert(event.id.clone());
            }
            if one.before != other.before {
                known.states.insert(event.id.clone(), (ids(&one.before), ids(&other.before)));
            }
        }
        let ties = graph.events.iter().rev().take(2);
        known.is_untied = ties
            .filter_map(|event| graph.model.get(&event.id))
            .any(|placed| placed.pdu.is_rejected());
        let last = graph.events.last().into_iter().chain([&graph.probe]);
        let last: Vec<String> = last.map(|event| event.id.clone()).collect();
        let end = |model: &Model| model.before(&last);
        let (one, other) = (end(&graph.model)?, end(&graph.whole)?);
        for key in one.keys().chain(other.keys()).filter(|key| one.get(*key) != other.get(*key)) {
            let at = |state: &State| state.get(key).map(ToString::to_string);
            known.end.insert((key.0.to_string(), key.1.clone()), (at(&one), at(&other)));
        }
        Ok(known)
    }

    /// Whether the readings of the rules come to the same for all of the graph.
    pub(super) fn is_undisputed(&self) -> bool {
        self.disputed.is_empty() && self.states.is_empty() && self.end.is_empty()
    }
}

/// What is taken in softly by a reading of the rules, when all comes in order.
fn softly(graph: &Graph, model: &Model) -> Result<BTreeSet<String>> {
    let prev = |id: &str| {
        let event = model.get(id).map(|placed| references(&placed.event.pdu["prev_events"]));
        event.unwrap_or_default()
    };
    let mut ends: BTreeSet<String> =
        graph.events.first().map(|event| prev(&event.id)).unwrap_or_default().into_iter().collect();
    let (mut softly, mut refused) = (BTreeSet::new(), BTreeSet::new());
    for event in graph.events.iter().chain([&graph.probe]) {
        let Some(placed) = model.get(&event.id) else { continue };
        let now = model.before(&ends.iter().cloned().collect::<Vec<_>>())?;
        if placed.pdu.is_rejected() {
            refused.insert(event.id.clone());
        } else if !model.permits(&placed.pdu, &now) {
            refused.insert(event.id.clone());
            softly.insert(event.id.clone());
        } else {
            let mut open = prev(&event.id);
            while let Some(id) = open.pop() {
                if refused.contains(&id) {
                    open.extend(prev(&id));
                }
                ends.remove(&id);
            }
            ends.insert(event.id.clone());
        }
    }
    Ok(softly)
}

fn ids(state: &State) -> BTreeSet<String> {
    state.values().map(ToString::to_string).collect()
}

/// The redactions that Synapse takes in and tells nobody of: what they redact is not there or was rejected, or
/// is by somebody of another server. Who has the power to redact that nevertheless is told of by it, too, so the
/// others must not differ.
fn withheld(graph: &Graph, oracle: &View) -> BTreeSet<String> {
    let untold = graph.events.iter().filter(|event| {
        event.kind() == "m.room.redaction"
            && !oracle.accepted.contains(&event.id)
            && !is_plain(graph, oracle, event)
    });
    untold.map(|event| event.id.clone()).collect()
}

/// Whether a redaction is of an event that was accepted, and by somebody of the same server.
fn is_plain(graph: &Graph, oracle: &View, event: &Event) -> bool {
    let Some(redacted) = redacted_by(event).and_then(|id| graph.model.get(id)) else {
        return false;
    };
    oracle.accepted.contains(&redacted.event.id)
        && server(&redacted.event.pdu["sender"]) == server(&event.pdu["sender"])
}

/// The event that a redaction names.
fn redacted_by(event: &Event) -> Option<&str> {
    event.pdu["redacts"].as_str().or_else(|| event.pdu["content"]["redacts"].as_str())
}

fn server(user: &Value) -> Option<&str> {
    Some(user.as_str()?.split_once(':')?.1)
}
