//! A room on a stage: events that are put straight into the database, for tests of what is read.

use std::{future::Future, sync::Arc};

use ruma::{OwnedUserId, RoomVersionId, UserId, device_id};
use serde_json::{Value, json};

use super::access::Asking;
use crate::{
    Engine,
    events::Pdu,
    rooms::{
        append::{self, Disposition, NewEvent},
        batch::Batch,
        room, state_at,
        testing::{self, Draft, Room, auth_events, build, draft, membership},
    },
    sync::{self, Request},
    test_support::engine_on,
    testing::NoServers,
};

pub(crate) const ALICE: &str = "@alice:a.org";
pub(crate) const BOB: &str = "@bob:a.org";

/// An engine of the server `a.org` with one public room, in which Alice is.
pub(crate) struct Stage {
    pub(crate) engine: Engine,
    pub(crate) room: Room,
    made: u64,
}

/// Runs a test on a stage, on each database.
pub(crate) async fn on_stage<F: Future<Output = ()>>(test: impl Fn(Stage) -> F) {
    let test = &test;
    let body = async |storage| {
        let engine = engine_on(storage, "a.org", Arc::new(NoServers)).await;
        test(Stage::new(engine).await).await;
    };
    starling_storage::test_support::on_each_database(body).await.unwrap();
}

pub(crate) fn user(id: &str) -> OwnedUserId {
    id.try_into().unwrap()
}

pub(crate) fn asking(user_id: &UserId) -> Asking<'_> {
    Asking { user_id, device_id: Some(device_id!("DEVICE")) }
}

impl Stage {
    pub(crate) async fn new(engine: Engine) -> Self {
        let room = Room::new(&RoomVersionId::V11);
        let mut first: Vec<Arc<Pdu>> = room.events.values().cloned().collect();
        first.sort_by_key(|pdu| pdu.depth);
        let stage = Self { engine, room, made: 1_000 };
        stage.append(&first).await;
        stage
    }

    /// Sends an event at the end of the room.
    pub(crate) async fn send(&mut self, draft: Draft) -> Arc<Pdu> {
        let pdu = self.room.send(draft);
        self.append(std::slice::from_ref(&pdu)).await;
        pdu
    }

    /// Says something at the end of the room.
    pub(crate) async fn say(&mut self, sender: &str, body: &str) -> Arc<Pdu> {
        self.send(message(sender, body)).await
    }

    /// Changes a membership.
    pub(crate) async fn member(&mut self, sender: &str, target: &str, kind: &str) -> Arc<Pdu> {
        self.send(membership(sender, target, kind)).await
    }

    /// Sets a state event with an empty state key.
    pub(crate) async fn set(&mut self, kind: &str, content: Value) -> Arc<Pdu> {
        self.send(draft(kind, ALICE, "", content)).await
    }

    /// Sends an event after an earlier one, as a server does that has not heard of the rest.
    pub(crate) async fn fork(&mut self, draft: Draft, after: &Arc<Pdu>) -> Arc<Pdu> {
        self.made += 1;
        let draft = Draft { ts: self.made, nonce: self.made, ..draft };
        let auth = auth_events(&draft, &self.room.state, &self.room.rules);
        let prev = std::slice::from_ref(after);
        let pdu = build(&draft, Some(&self.room.room_id), prev, &auth, &self.room.rules);
        self.append(std::slice::from_ref(&pdu)).await;
        pdu
    }

    /// Puts events into the database, all in one change.
    pub(crate) async fn append(&self, pdus: &[Arc<Pdu>]) {
        let id = &self.room.room_id;
        let place = room::place(&self.engine, id).await.room(&self.engine).await.unwrap();
        let (mut guard, first) = match place {
            Ok(guard) => (guard, false),
            Err(place) => {
                let version = RoomVersionId::V11;
                let rules = testing::rules(&version);
                (place.put(room::Room::new(id.clone(), version, rules)), true)
            }
        };
        let new = if first { Batch::first } else { Batch::new };
        let mut batch = new(&self.engine, &guard);
        for pdu in pdus {
            let state_before = state_at::before(&mut batch, &pdu.prev_events).await.unwrap();
            let disposition = Disposition::Accepted;
            let new = NewEvent {
                pdu: pdu.clone(),
                state_before,
                disposition,
                redacted_by: None,
                local: true,
            };
            append::append(&mut batch, new).await.unwrap();
        }
        batch.commit(&mut guard).await.unwrap();
    }

    /// A /sync of somebody, as JSON.
    pub(crate) async fn sync(&self, user_id: &str, request: Request) -> Value {
        let user_id = user(user_id);
        let answer = sync::sync(&self.engine, asking(&user_id), request).await.unwrap();
        serde_json::to_value(answer).unwrap()
    }
}

/// A message.
pub(crate) fn message(sender: &str, body: &str) -> Draft {
    let content = json!({ "msgtype": "m.text", "body": body });
    Draft { state_key: None, ..draft("m.room.message", sender, "", content) }
}

/// A request that continues an answer.
pub(crate) fn after(answer: &Value) -> Request {
    let since = answer["next_batch"].as_str().unwrap();
    Request { since: Some(super::token::SyncToken::parse(since).unwrap()), ..Request::default() }
}

/// The event IDs of a list of events.
pub(crate) fn ids(events: &Value) -> Vec<String> {
    let events = events.as_array().into_iter().flatten();
    events.map(|event| event["event_id"].as_str().unwrap().to_owned()).collect()
}
