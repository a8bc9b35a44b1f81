//! Messages wait for a device within bounds, whoever sends how many.

use starling_storage::{
    Change, Fact, Storage,
    accounts::{self, devices},
    to_device::{self, FREED_AT_ONCE, MOST_WAITING, Write},
};

use crate::on_each;

/// How many messages are written at once.
const AT_ONCE: usize = 500;

async fn add_device(storage: &Storage, user_id: &str) {
    let (user_id, device_id) = (user_id.to_owned(), "DEVICE".to_owned());
    let row = devices::DeviceRow { user_id, device_id, ..devices::DeviceRow::default() };
    let mut change = Change::new();
    change.write(accounts::Write::Device(devices::Write::Add(row)));
    storage.commit(change).await.unwrap();
}

async fn deliver(
    storage: &Storage,
    user_id: &str,
    sender: &str,
    numbers: impl Iterator<Item = i64>,
) {
    let mut change = Change::new();
    for number in numbers {
        let user_id = user_id.to_owned();
        let at = change.fact(Fact::ToDevice { user_id: user_id.clone() });
        let (device_id, json) = ("DEVICE".to_owned(), number.to_string());
        let sender = sender.to_owned();
        change.write(Write::Deliver { user_id, device_id, sender, json, at });
    }
    storage.commit(change).await.unwrap();
}

/// As many messages as there may be wait for the device of a user.
async fn fill(storage: &Storage, user_id: &str, sender: &str) {
    for first in (0..MOST_WAITING).step_by(AT_ONCE) {
        let numbers = first..MOST_WAITING.min(first + AT_ONCE as i64);
        deliver(storage, user_id, sender, numbers).await;
    }
}

/// What waits for the device of a user, oldest first.
async fn waiting(storage: &Storage, user_id: &str) -> Vec<i64> {
    let mut conn = storage.read().await.unwrap();
    let rows = to_device::waiting(&mut conn, user_id, "DEVICE", (0, i64::MAX), i64::MAX).await;
    rows.unwrap().into_iter().map(|(_, json)| json.parse().unwrap()).collect()
}

/// The device of a user has what waits for it.
async fn acknowledge(storage: &Storage, user_id: &str) {
    let mut change = Change::new();
    let (user_id, device_id) = (user_id.to_owned(), "DEVICE".to_owned());
    change.write(Write::Acknowledged { user_id, device_id, until: storage.feed().head() });
    storage.commit(change).await.unwrap();
}

#[tokio::test]
async fn who_floods_a_device_fills_no_more_than_its_inbox() {
    on_each(|storage| async move {
        for user in ["@alice:a.org", "@bob:a.org"] {
            add_device(&storage, user).await;
        }
        deliver(&storage, "@bob:a.org", "@friend:a.org", 0..3).await;
        fill(&storage, "@alice:a.org", "@evil:b.org").await;
        deliver(&storage, "@alice:a.org", "@evil:b.org", MOST_WAITING..MOST_WAITING + 3).await;
        let kept: Vec<i64> = (FREED_AT_ONCE..MOST_WAITING + 3).collect();
        assert_eq!(waiting(&storage, "@alice:a.org").await, kept);
        assert_eq!(waiting(&storage, "@bob:a.org").await, [0, 1, 2]);
    })
    .await;
}

#[tokio::test]
async fn who_floods_a_device_takes_the_place_of_nobody_else() {
    on_each(|storage| async move {
        let alice = "@alice:a.org";
        add_device(&storage, alice).await;
        deliver(&storage, alice, "@friend:a.org", -2..0).await;
        fill(&storage, alice, "@evil:b.org").await;
        deliver(&storage, alice, "@stranger:c.org", -4..-2).await;
        let kept = waiting(&storage, alice).await;
        let of_the_flood = FREED_AT_ONCE..MOST_WAITING;
        let wanted: Vec<i64> = (-2..0).chain(of_the_flood).chain(-4..-2).collect();
        assert_eq!(kept, wanted);
    })
    .await;
}

#[tokio::test]
async fn an_inbox_that_was_emptied_has_room_again() {
    on_each(|storage| async move {
        let alice = "@alice:a.org";
        add_device(&storage, alice).await;
        for _ in 0..2 {
            fill(&storage, alice, "@friend:a.org").await;
            assert_eq!(waiting(&storage, alice).await.len() as i64, MOST_WAITING);
            acknowledge(&storage, alice).await;
            acknowledge(&storage, alice).await;
            assert!(waiting(&storage, alice).await.is_empty());
        }
    })
    .await;
}
