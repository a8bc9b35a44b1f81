//! Connections of sliding sync.

use starling_storage::{
    Change, Storage,
    accounts::{self, devices},
    sliding::{self, ConnectionRow, StateRow, Stored, Write},
};

use crate::on_each;

const DAY: i64 = 86_400_000;

fn row(device_id: &str, connection: &str) -> ConnectionRow {
    let s = ToOwned::to_owned;
    let conn_id = s("main");
    ConnectionRow {
        user_id: s("@a:x"),
        device_id: s(device_id),
        conn_id,
        connection: s(connection),
    }
}

fn state(serial: i64, rooms: &[(&str, &str)]) -> StateRow {
    let room = |(id, json): &(&str, &str)| ((*id).to_owned(), (*json).to_owned());
    StateRow { serial, state: format!("state {serial}"), rooms: rooms.iter().map(room).collect() }
}

async fn write(storage: &Storage, row: Write) {
    let mut change = Change::new();
    change.write(row);
    storage.commit(change).await.unwrap();
}

async fn open(storage: &Storage, row: ConnectionRow, state: StateRow) {
    write(storage, Write::Open { row, state, ts: DAY, most: 2 }).await;
}

async fn advance(storage: &Storage, from: i64, state: StateRow) {
    let connection = "one".to_owned();
    write(storage, Write::Advance { connection, from, state, ts: 2 * DAY }).await;
}

async fn get(storage: &Storage, row: &ConnectionRow, serial: i64) -> Option<Stored> {
    let mut conn = storage.read().await.unwrap();
    sliding::get(&mut conn, row, serial).await.unwrap()
}

/// The rooms of a state as one text.
async fn rooms(storage: &Storage, serial: i64) -> Option<String> {
    let stored = get(storage, &row("D", "one"), serial).await?;
    assert_eq!(stored.state.state, format!("state {serial}"));
    let rooms = stored.state.rooms.iter().map(|(id, json)| format!("{id}{json}"));
    Some(rooms.collect::<Vec<_>>().join(" "))
}

#[tokio::test]
async fn a_state_is_there_until_the_client_has_a_later_one() {
    on_each(|storage| async move {
        open(&storage, row("D", "one"), state(1, &[("a", "1"), ("b", "1")])).await;
        advance(&storage, 1, state(2, &[("b", "2")])).await;
        advance(&storage, 1, state(3, &[("a", "3"), ("c", "3")])).await;
        assert_eq!(rooms(&storage, 1).await.as_deref(), Some("a1 b1"));
        assert_eq!(rooms(&storage, 2).await.as_deref(), Some("a1 b2"));
        assert_eq!(rooms(&storage, 3).await.as_deref(), Some("a3 b1 c3"));
        let stored = get(&storage, &row("D", "one"), 3).await.unwrap();
        assert_eq!((stored.newest, stored.used_ts), (3, 2 * DAY));

        advance(&storage, 3, state(4, &[("b", "4")])).await;
        assert_eq!(rooms(&storage, 1).await, None);
        assert_eq!(rooms(&storage, 2).await, None, "the client has another one");
        assert_eq!(rooms(&storage, 3).await.as_deref(), Some("a3 b1 c3"));
        assert_eq!(rooms(&storage, 4).await.as_deref(), Some("a3 b4 c3"));
        advance(&storage, 2, state(5, &[("x", "5")])).await;
        assert_eq!(rooms(&storage, 5).await, None, "what is gone has no successor");
    })
    .await;
}

#[tokio::test]
async fn of_states_that_a_client_may_have_the_newest_stay() {
    on_each(|storage| async move {
        open(&storage, row("D", "one"), state(1, &[("a", "1")])).await;
        for serial in 2..10 {
            advance(&storage, 1, state(serial, &[("a", "x")])).await;
        }
        let mut known = vec![];
        for serial in 1..10 {
            if rooms(&storage, serial).await.is_some() {
                known.push(serial);
            }
        }
        assert_eq!(known, [1, 6, 7, 8, 9]);
    })
    .await;
}

#[tokio::test]
async fn connections_are_a_devices_own_and_end_with_it() {
    on_each(|storage| async move {
        let is_there = async |row: ConnectionRow| get(&storage, &row, 1).await.is_some();
        let named = |conn_id: &str, row: ConnectionRow| ConnectionRow {
            conn_id: conn_id.to_owned(),
            ..row
        };
        open(&storage, row("D", "one"), state(1, &[])).await;
        assert!(!is_there(row("E", "one")).await && !is_there(row("D", "two")).await);
        assert!(!is_there(named("other", row("D", "one"))).await);
        assert!(!is_there(ConnectionRow { user_id: "@b:x".to_owned(), ..row("D", "one") }).await);
        // One of the same name takes its place; one beyond the bound that of the oldest.
        open(&storage, row("D", "two"), state(1, &[])).await;
        assert!(!is_there(row("D", "one")).await && is_there(row("D", "two")).await);
        write(&storage, Write::Used { connection: "two".to_owned(), ts: 0 }).await;
        open(&storage, named("b", row("D", "three")), state(1, &[])).await;
        open(&storage, named("c", row("D", "four")), state(1, &[])).await;
        assert!(!is_there(row("D", "two")).await && is_there(named("b", row("D", "three"))).await);

        open(&storage, row("E", "five"), state(1, &[])).await;
        let (user_id, device_id) = ("@a:x".to_owned(), "D".to_owned());
        let mut change = Change::new();
        change.write(accounts::Write::Device(devices::Write::Remove { user_id, device_id }));
        storage.commit(change).await.unwrap();
        assert!(!is_there(named("c", row("D", "four"))).await && is_there(row("E", "five")).await);
        let (user_id, except) = ("@a:x".to_owned(), Some("E".to_owned()));
        let mut change = Change::new();
        change.write(accounts::Write::Device(devices::Write::RemoveAll { user_id, except }));
        storage.commit(change).await.unwrap();
        assert!(is_there(row("E", "five")).await);
        write(&storage, Write::Expire { before: DAY }).await;
        assert!(is_there(row("E", "five")).await);
        write(&storage, Write::Expire { before: DAY + 1 }).await;
        assert!(!is_there(row("E", "five")).await);
    })
    .await;
}
