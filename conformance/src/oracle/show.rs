//! A graph in words, for who looks for the cause of a difference.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{graph::Graph, stage::View};
use crate::evil::{Event, references};

/// One line for each event: what it says, what it follows, what authorises it, and what each server and the
/// maker of the graph make of it.
pub(super) fn graph(graph: &Graph, one: &View, other: &View) -> String {
    let all = graph.events.iter().chain([&graph.control, &graph.probe]);
    let numbers: BTreeMap<&str, String> =
        all.clone().enumerate().map(|(number, it)| (it.id.as_str(), number.to_string())).collect();
    let lines = all.map(|event| {
        let rejected = graph.model.get(&event.id).is_some_and(|it| it.pdu.is_rejected());
        let model = if rejected { 'R' } else { '.' };
        let fates = format!("{}{}{model}", fate(one, event), fate(other, event));
        format!("{fates} {}", line(graph, &numbers, event))
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn fate(view: &View, event: &Event) -> char {
    match (view.accepted.contains(&event.id), view.shown.contains(&event.id)) {
        (false, _) => 'R',
        (true, false) => 'S',
        (true, true) => '.',
    }
}

fn line(graph: &Graph, numbers: &BTreeMap<&str, String>, event: &Event) -> String {
    let pdu = &event.pdu;
    let named = |list: &Value| {
        let name = |id: String| match (numbers.get(id.as_str()), graph.model.get(&id)) {
            (Some(number), _) => number.clone(),
            (None, Some(placed)) => {
                let key = placed.event.state_key().unwrap_or("-");
                format!("{}/{}", short(placed.event.kind()), short_user(key))
            }
            (None, None) => id,
        };
        references(list).into_iter().map(name).collect::<Vec<_>>().join(" ")
    };
    let mut content = pdu["content"].clone();
    if let Some(content) = content.as_object_mut() {
        content.remove("org.example.nonce");
    }
    format!(
        "{:>2} {} {} by {} {content} after [{}] auth [{}] depth {} time {} {}",
        numbers.get(event.id.as_str()).map_or("?", String::as_str),
        short(event.kind()),
        event.state_key().map_or("-".to_owned(), short_user),
        short_user(pdu["sender"].as_str().unwrap_or_default()),
        named(&pdu["prev_events"]),
        named(&pdu["auth_events"]),
        pdu["depth"],
        pdu["origin_server_ts"],
        event.id.chars().take(8).collect::<String>(),
    )
}

fn short(kind: &str) -> &str {
    kind.strip_prefix("m.room.").unwrap_or(kind)
}

fn short_user(user: &str) -> String {
    match user.split_once(':') {
        Some((name, _)) => name.to_owned(),
        None => format!("'{user}'"),
    }
}
