//! Those who were told everything are answered without reading, and miss nothing by it.

use starling_storage::{
    Change,
    accounts::{self, devices},
    encryption::{self, one_time_keys},
};

use super::{Request, is_empty, joined};
use crate::{
    reading::stage::{ALICE, BOB, Stage, after, ids, on_stage, user},
    rooms::receipts::{self, Kind, Receipt},
};

/// Something happens that is none of Alice's business.
async fn read_in_private(stage: &Stage, event_id: &ruma::EventId) {
    let event_id = event_id.to_owned();
    let receipt = Receipt { kind: Kind::Private, event_id, thread_id: None };
    let room_id = stage.room.room_id.clone();
    receipts::send(&stage.engine, &room_id, &user(BOB), &[receipt]).await.unwrap();
    settled(stage).await;
}

/// Everybody whom the commits concern has been woken.
async fn settled(stage: &Stage) {
    while stage.engine.notifier.told() < stage.engine.storage.feed().head() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn whom_nothing_concerns_is_answered_without_reading() {
    on_stage(async |mut stage| {
        stage.member(BOB, BOB, "join").await;
        let said = stage.say(ALICE, "hello").await;
        let first = stage.sync(ALICE, Request::default()).await;
        read_in_private(&stage, &said.event_id).await;
        let second = stage.sync(ALICE, after(&first)).await;
        assert!(is_empty(&second));
        assert_eq!(second["next_batch"], first["next_batch"], "the present was not looked at");
        // Who asks for something else is not answered from memory.
        let filter = crate::reading::filter::Filter::parse(r#"{"room":{"rooms":[]}}"#).unwrap();
        let third = stage.sync(ALICE, Request { filter, ..after(&second) }).await;
        assert_ne!(third["next_batch"], first["next_batch"]);
        let whole = Request { full_state: true, ..after(&third) };
        assert!(!is_empty(&stage.sync(ALICE, whole).await));
        assert!(is_empty(&stage.sync(ALICE, after(&first)).await), "an old token");
    })
    .await;
}

#[tokio::test]
async fn what_is_acknowledged_is_shown_by_the_next_sync() {
    on_stage(async |mut stage| {
        let mut answer = stage.sync(ALICE, Request::default()).await;
        for _ in 0..20 {
            answer = stage.sync(ALICE, after(&answer)).await;
            assert!(is_empty(&answer));
            let said = stage.say(ALICE, "hello").await;
            answer = stage.sync(ALICE, after(&answer)).await;
            let events = &joined(&stage, &answer)["timeline"]["events"];
            assert_eq!(ids(events), [said.event_id.as_str()]);
        }
    })
    .await;
}

#[tokio::test]
async fn the_count_of_keys_is_that_of_the_present() {
    on_stage(async |stage| {
        let (user_id, device_id) = (ALICE.to_owned(), "DEVICE".to_owned());
        let device = devices::DeviceRow { user_id, device_id, ..devices::DeviceRow::default() };
        let mut change = Change::new();
        change.write(accounts::Write::Device(devices::Write::Add(device)));
        stage.engine.storage.commit(change).await.unwrap();
        let first = stage.sync(ALICE, Request::default()).await;
        let key = one_time_keys::KeyRow {
            user_id: ALICE.to_owned(),
            device_id: "DEVICE".to_owned(),
            algorithm: "signed_curve25519".to_owned(),
            key_id: "AAAA".to_owned(),
            ordinal: 1,
            claimed: false,
            json: "{}".to_owned(),
        };
        let mut change = Change::new();
        change.write(encryption::Write::OneTimeKey(one_time_keys::Write::Add(key)));
        stage.engine.storage.commit(change).await.unwrap();
        settled(&stage).await;
        let second = stage.sync(ALICE, after(&first)).await;
        assert_eq!(second["next_batch"], first["next_batch"]);
        assert_eq!(second["device_one_time_keys_count"]["signed_curve25519"], 1);
    })
    .await;
}
