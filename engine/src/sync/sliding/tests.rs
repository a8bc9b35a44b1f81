//! Sliding sync, over a room on a stage.

use std::collections::BTreeMap;

use serde_json::Value;
use starling_storage::{Change, account_data};

use super::{
    Answer, Request, SlidingError,
    answer::{Inside, StateItem},
    request::List,
    required::{Pattern, RequiredState, RoomConfig},
};
use crate::reading::{
    pos::Pos,
    stage::{Stage, asking, user},
};

mod beside;
mod connections;
mod memberships;
mod rooms;

/// What is wanted of rooms: `"type"` stands for all its state keys, `"type/"` for the empty one.
fn config(timeline_limit: usize, include: &[&str], lazy_members: bool) -> RoomConfig {
    let pattern = |text: &&str| match text.split_once('/') {
        Some((kind, key)) => {
            Pattern { kind: Some(kind.to_owned()), state_key: Some(key.to_owned()) }
        }
        None => Pattern { kind: (*text != "*").then(|| (*text).to_owned()), state_key: None },
    };
    let include = include.iter().map(pattern).collect();
    let required = RequiredState { include, lazy_members, ..RequiredState::default() };
    RoomConfig { timeline_limit, required_state: [required].into() }
}

fn listed(config: RoomConfig) -> Request {
    let list = List { config, ..List::default() };
    Request {
        lists: BTreeMap::from([("all".to_owned(), list)]),
        counts: true,
        ..Request::default()
    }
}

fn after(answer: &Answer, request: Request) -> Request {
    Request { pos: Some(Pos::parse(&answer.pos).unwrap()), ..request }
}

async fn ask(stage: &Stage, who: &str, request: Request) -> Answer {
    try_ask(stage, who, request).await.unwrap()
}

async fn try_ask(stage: &Stage, who: &str, request: Request) -> Result<Answer, SlidingError> {
    super::sync(&stage.engine, asking(&user(who)), &request).await
}

fn inside<'a>(stage: &Stage, answer: &'a Answer) -> &'a Inside {
    answer.rooms[stage.room.room_id.as_str()].inside.as_ref().unwrap()
}

fn bodies(inside: &Inside) -> Vec<String> {
    let body = |event: &serde_json::value::RawValue| {
        let event: Value = serde_json::from_str(event.get()).unwrap();
        event["content"]["body"].as_str().unwrap_or(event["type"].as_str().unwrap()).to_owned()
    };
    inside.timeline.iter().map(|event| body(event)).collect()
}

/// Type and state key of the state that is sent.
fn state(inside: &Inside) -> Vec<String> {
    let place = |item: &StateItem| match item {
        StateItem::Event(event) => {
            let event: Value = serde_json::from_str(event.get()).unwrap();
            let text = |key: &str| event[key].as_str().unwrap().to_owned();
            format!("{}/{}", text("type"), text("state_key"))
        }
        StateItem::Gone { kind, state_key } => format!("-{kind}/{state_key}"),
    };
    let mut places: Vec<_> = inside.required_state.iter().map(place).collect();
    places.sort();
    places
}

async fn set_data(stage: &Stage, who: &str, room_id: &str, kind: &str, content: Value) {
    let mut change = Change::new();
    let (user_id, room_id, kind) = (who.to_owned(), room_id.to_owned(), kind.to_owned());
    let fact = starling_storage::Fact::AccountData {
        user_id: user_id.clone(),
        room_id: room_id.clone(),
        kind: kind.clone(),
    };
    let at = change.fact(fact);
    let content = content.to_string();
    change.write(account_data::Write::Put { user_id, room_id, kind, content, at });
    stage.engine.storage.commit(change).await.unwrap();
}
