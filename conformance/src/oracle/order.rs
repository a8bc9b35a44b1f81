//! Another order of a graph's events, with holes: never so far from the graph's own that a server could not ask
//! for all that lies between.

use std::collections::BTreeSet;

use super::chance::Chance;
use crate::evil::{Event, references};

/// How far events come from their place.
const FAR: usize = 6;
/// How often an event is not sent, but left to be asked for, in percent.
const LEFT_OUT: usize = 35;
/// So many events may lie between what a server has and what it is sent: no more than servers ask for at once.
const GAP: usize = 8;

/// In which order what is sent.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// What is sent, one by one.
    pub(super) sent: Vec<Event>,
    /// For what is sent, what the server lacks before it, each after those that it follows.
    pub(super) gaps: Vec<(String, Vec<Event>)>,
}

/// Draws an order. The last event is always sent.
pub(super) fn shuffled(events: &[Event], chance: &mut Chance) -> Plan {
    let mut order: Vec<&Event> = Vec::new();
    for some in events.chunks(FAR) {
        let mut some: Vec<&Event> = some.iter().collect();
        chance.shuffle(&mut some);
        order.extend(some.into_iter().filter(|_| !chance.percent(LEFT_OUT)));
    }
    order.extend(events.last());
    let (mut plan, mut there) = (Plan::default(), BTreeSet::new());
    for event in order {
        if there.contains(event.id.as_str()) {
            continue;
        }
        let lacking = before(events, event, &there);
        let (first, gap) = lacking.split_at(lacking.len().saturating_sub(GAP));
        // What would be too much is sent as it is.
        plan.sent.extend(first.iter().map(|event| (*event).clone()));
        if !gap.is_empty() {
            let gap = gap.iter().map(|event| (*event).clone()).collect();
            plan.gaps.push((event.id.clone(), gap));
        }
        plan.sent.push(event.clone());
        there.extend(lacking.iter().chain([&event]).map(|event| event.id.as_str()));
    }
    plan
}

/// The events before one that are not there yet, in the graph's order.
fn before<'a>(events: &'a [Event], event: &Event, there: &BTreeSet<&str>) -> Vec<&'a Event> {
    let mut open = references(&event.pdu["prev_events"]);
    let mut lacking = BTreeSet::new();
    while let Some(id) = open.pop() {
        let Some(found) = events.iter().find(|it| it.id == id) else { continue };
        if !there.contains(id.as_str()) && lacking.insert(id) {
            open.extend(references(&found.pdu["prev_events"]));
        }
    }
    events.iter().filter(|event| lacking.contains(&event.id)).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn event(number: usize, prev: &[usize]) -> Event {
        let prev: Vec<String> = prev.iter().map(|it| format!("${it}")).collect();
        Event {
            id: format!("${number}"),
            pdu: json!({ "prev_events": prev }),
            reference_hash: String::new(),
        }
    }

    #[test]
    fn whatever_the_order_no_gap_is_too_large_and_nothing_is_forgotten() {
        // Two branches, tied at the end.
        let mut events = vec![event(0, &[])];
        events.extend((1..60).map(|at: usize| event(at, &[at.saturating_sub(2)])));
        events.push(event(60, &[58, 59]));
        for seed in 0..50 {
            let plan = shuffled(&events, &mut Chance::new(seed, 0));
            let mut there: BTreeSet<String> = BTreeSet::new();
            for sent in &plan.sent {
                let gap = plan.gaps.iter().find(|(id, _)| *id == sent.id);
                let gap = gap.map(|(_, events)| events.as_slice()).unwrap_or_default();
                assert!(gap.len() <= GAP);
                for event in gap.iter().chain([sent]) {
                    let prev = references(&event.pdu["prev_events"]);
                    assert!(prev.iter().all(|id| there.contains(id)));
                    there.insert(event.id.clone());
                }
            }
            assert_eq!(there.len(), events.len(), "seed {seed}");
            assert!(plan.sent.len() < events.len(), "nothing was left out");
        }
    }
}
