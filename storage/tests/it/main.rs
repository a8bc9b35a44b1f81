//! The writer, the feed and the tables, on every database that this machine has.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, missing_docs, reason = "tests")]

mod measures;
mod migrations;
mod partial;
mod positions;
mod sliding;
mod tables;
mod to_device;
mod writer;

use starling_storage::{
    Change, Claim, Fact, Storage,
    events::{self, EventRow},
    rooms,
    timeline::{self, Entry},
};

/// Runs the body on an opened database of each kind.
async fn on_each<F: Future<Output = ()>>(test: impl Fn(Storage) -> F) {
    starling_storage::test_support::on_each_database(test).await.unwrap();
}

/// A change that says only that account data changed.
fn account_data(user_id: &str, n: usize) -> Change {
    let mut change = Change::new();
    let at = change.fact(Fact::AccountData {
        user_id: user_id.to_owned(),
        room_id: String::new(),
        kind: format!("k{n}"),
    });
    change.write(starling_storage::account_data::Write::Put {
        user_id: user_id.to_owned(),
        room_id: String::new(),
        kind: format!("k{n}"),
        content: format!("{{\"n\":{n}}}"),
        at,
    });
    change
}

fn new_room(room_id: &str) -> Change {
    let mut change = Change::new();
    change.claim(Claim::NewRoom(rooms::NewRoom {
        room_id: room_id.to_owned(),
        room_version: "12".to_owned(),
    }));
    change
}

fn event_row(room_id: &str, event_id: &str, depth: i64) -> EventRow {
    EventRow {
        room_id: room_id.to_owned(),
        event_id: event_id.to_owned(),
        kind: "m.room.message".to_owned(),
        state_key: None,
        sender: "@a:b".to_owned(),
        depth,
        origin_server_ts: 1,
        received_ts: 2,
        state_before: Some(0),
        flags: 0,
        redacted_by: None,
        json: format!("{{\"depth\":{depth}}}"),
        sent_by: None,
    }
}

/// A change that appends a message to a room at `expected`.
fn message(room_id: &str, event_id: &str, expected: i64) -> Change {
    let mut change = Change::new();
    change.require_room(room_id, expected, expected + 1);
    change.write(events::Write::Put(Box::new(event_row(room_id, event_id, expected))));
    let at = change.fact(Fact::Event {
        room_id: room_id.to_owned(),
        event_id: event_id.to_owned(),
        local: true,
        member: None,
    });
    let entry = Entry {
        room_id: room_id.to_owned(),
        event_id: event_id.to_owned(),
        depth: expected,
        local: true,
        ..Entry::default()
    };
    change.write(timeline::Write::Append { entry, at });
    change
}
