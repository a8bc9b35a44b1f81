//! Messages wait for a device within bounds, whoever sends how many.

use starling_storage::{
    Change, Fact, Storage,
    accounts::{self, devices},
    to_device::{self, MOST_WAITING, Write},
};

use crate::on_each;

/// How many messages are written at once.
const AT_ONCE: i64 = 500;

async fn add_device(storage: &Storage, user_id: &str) {
    let (user_id, device_id) = (user_id.to_owned(), "DEVICE".to_owned());
    let row = devices::DeviceRow { user_id, device_id, ..devices::DeviceRow::default() };
    let mut change = Change::new();
    change.write(accounts::Write::Device(devices::Write::Add(row)));
    storage.commit(change).await.unwrap();
}

async fn deliver(storage: &Storage, user_id: &str, numbers: impl Iterator<Item = i64>) {
    let mut change = Change::new();
    for number in numbers {
        let user_id = user_id.to_owned();
        let at = change.fact(Fact::ToDevice { user_id: user_id.clone() });
        let (device_id, json) = ("DEVICE".to_owned(), number.to_string());
        change.write(Write::Deliver { user_id, device_id, json, at });
    }
    storage.commit(change).await.unwrap();
}

/// What waits for the device of a user, oldest first.
async fn waiting(storage: &Storage, user_id: &str) -> Vec<i64> {
    let mut conn = storage.read().await.unwrap();
    let rows = to_device::waiting(&mut conn, user_id, "DEVICE", (0, i64::MAX), i64::MAX).await;
    rows.unwrap().into_iter().map(|(_, json)| json.parse().unwrap()).collect()
}

#[tokio::test]
async fn who_floods_a_device_fills_no_more_than_its_inbox() {
    on_each(|storage| async move {
        for user in ["@alice:a.org", "@bob:a.org"] {
            add_device(&storage, user).await;
        }
        deliver(&storage, "@bob:a.org", 0..3).await;
        let most = MOST_WAITING + 3;
        let mut sent = 0;
        while sent < most {
            deliver(&storage, "@alice:a.org", sent..most.min(sent + AT_ONCE)).await;
            sent += AT_ONCE;
        }
        let kept: Vec<i64> = (3..most).collect();
        assert_eq!(waiting(&storage, "@alice:a.org").await, kept);
        assert_eq!(waiting(&storage, "@bob:a.org").await, [0, 1, 2]);
    })
    .await;
}
