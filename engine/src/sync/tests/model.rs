//! Random rooms and random clients: nothing is lost, nothing comes twice, and the state adds up.

use std::{collections::BTreeMap, sync::Arc};

use proptest::prelude::*;
use ruma::api::Direction;
use serde_json::{Value, json};

use super::{Request, StateWanted, joined};
use crate::{
    reading::{
        filter::{EventFilter, Filter},
        messages::{self, PageRequest},
        stage::{ALICE, BOB, Stage, after, asking, ids, message, on_stage, user},
        token::PageToken,
    },
    rooms::testing::draft,
};

#[derive(Clone, Debug)]
enum Step {
    /// Say something at the end.
    Say,
    /// Set the topic.
    Topic,
    /// Say something after an event of the past.
    Fork(usize),
    /// Set the topic after an event of the past.
    ForkTopic(usize),
    /// Bob joins or leaves.
    Bob,
    /// /sync with so many events, and pages of so many.
    Sync(u64, u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => Just(Step::Say),
        1 => Just(Step::Topic),
        2 => any::<usize>().prop_map(Step::Fork),
        1 => any::<usize>().prop_map(Step::ForkTopic),
        1 => Just(Step::Bob),
        2 => (1_u64..6, 1_u64..4).prop_map(|(limit, page)| Step::Sync(limit, page)),
    ]
}

/// A client that keeps what it was sent.
struct Client {
    last: Value,
    seen: Vec<String>,
    /// By `state_after`.
    state: BTreeMap<(String, String), String>,
}

impl Client {
    async fn sync(&mut self, stage: &Stage, limit: u64, page: u64) {
        let filter = json!({ "room": { "timeline": { "limit": limit } } });
        let filter = Arc::new(Filter::parse(&filter.to_string()).unwrap());
        let first = self.last.is_null();
        let request = if first { Request::default() } else { after(&self.last) };
        let request = Request { filter, state: StateWanted::After, ..request };
        let answer = stage.sync(ALICE, request).await;
        let room = joined(stage, &answer);
        if !room.is_null() {
            let timeline = &room["timeline"];
            if timeline["limited"] == true {
                let from = timeline["prev_batch"].as_str().unwrap();
                let to = self.last["next_batch"].as_str();
                let missed = page_back(stage, Some(from), to, page).await;
                self.seen.extend(missed.into_iter().rev());
            }
            self.seen.extend(ids(&timeline["events"]));
            for event in room["state_after"]["events"].as_array().unwrap() {
                let text = |field: &str| event[field].as_str().unwrap().to_owned();
                self.state.insert((text("type"), text("state_key")), text("event_id"));
            }
        }
        self.last = answer;
    }
}

/// All events from a token back to another, in pages.
async fn page_back(stage: &Stage, from: Option<&str>, to: Option<&str>, page: u64) -> Vec<String> {
    let token = |text: &str| PageToken::parse(text).unwrap();
    let (mut from, alice) = (from.map(token), user(ALICE));
    let mut found = Vec::new();
    loop {
        let request = PageRequest {
            direction: Direction::Backward,
            from,
            to: to.map(token),
            limit: Some(page),
            filter: EventFilter::default(),
        };
        let room_id = &stage.room.room_id;
        let page = messages::page(&stage.engine, asking(&alice), room_id, request).await.unwrap();
        found.extend(ids(&serde_json::to_value(&page.chunk).unwrap()));
        let Some(end) = page.end else { return found };
        let end = Some(token(&end));
        assert_ne!(end, from, "a page that leads nowhere");
        from = end;
    }
}

async fn act(stage: &mut Stage, step: &Step, made: &mut Vec<Arc<crate::events::Pdu>>) {
    let number = made.len();
    let bob_is_in =
        stage.room.state.iter().any(|(key, pdu)| {
            key.1 == BOB && pdu.content_str("membership").as_deref() == Some("join")
        });
    let topic = || draft("m.room.topic", ALICE, "", json!({ "topic": number.to_string() }));
    let said = || message(ALICE, &number.to_string());
    let past = |at: &usize| made.get(at % made.len().max(1)).cloned();
    let pdu = match step {
        Step::Say => stage.send(said()).await,
        Step::Topic => stage.send(topic()).await,
        Step::Bob => stage.member(BOB, BOB, if bob_is_in { "leave" } else { "join" }).await,
        Step::Fork(at) => match past(at) {
            Some(past) => stage.fork(said(), &past).await,
            None => return,
        },
        Step::ForkTopic(at) => match past(at) {
            Some(past) => stage.fork(topic(), &past).await,
            None => return,
        },
        Step::Sync(..) => return,
    };
    made.push(pdu);
}

async fn run(mut stage: Stage, steps: &[Step]) {
    let mut all: Vec<String> = {
        let mut first: Vec<_> = stage.room.events.values().collect();
        first.sort_by_key(|pdu| pdu.depth);
        first.iter().map(|pdu| pdu.event_id.to_string()).collect()
    };
    let mut client = Client { last: Value::Null, seen: vec![], state: BTreeMap::new() };
    let mut made = vec![];
    for step in steps {
        act(&mut stage, step, &mut made).await;
        if let Step::Sync(limit, page) = step {
            client.sync(&stage, *limit, *page).await;
        }
    }
    client.sync(&stage, 3, 2).await;
    all.extend(made.iter().map(|pdu| pdu.event_id.to_string()));

    let sorted = |mut ids: Vec<String>| {
        ids.sort();
        ids
    };
    assert_eq!(sorted(client.seen), sorted(all.clone()), "each event once");
    let pages = page_back(&stage, None, None, 3).await;
    assert_eq!(sorted(pages), sorted(all), "each event once in pages");

    let current = state(&stage).await;
    assert_eq!(client.state, current, "the state that the client put together");
}

async fn state(stage: &Stage) -> BTreeMap<(String, String), String> {
    let mut conn = stage.engine.storage.read().await.unwrap();
    let room_id = stage.room.room_id.as_str();
    let rows = starling_storage::state::all_current(&mut conn, room_id).await.unwrap();
    rows.into_iter().map(|(kind, key, id)| ((kind, key), id)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn nothing_is_lost_and_nothing_comes_twice(
        steps in prop::collection::vec(step(), 1..30),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(on_stage(async |stage| run(stage, &steps).await));
    }
}
