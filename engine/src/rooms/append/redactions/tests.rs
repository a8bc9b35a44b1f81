//! Redactions that come before what they redact, however that comes.

use serde_json::json;

use super::*;
use crate::{
    events::{Pdu, store},
    reading::stage::{ALICE, Stage, message, on_stage},
    rooms::{
        append::{self, Disposition, NewEvent},
        receive::outliers,
        room,
        testing::{self, Draft},
    },
};

/// Something that was said, and its redaction, neither of which is in the room yet.
fn pair(stage: &mut Stage) -> (Arc<Pdu>, Arc<Pdu>) {
    let said = stage.room.make(message(ALICE, "a mistake"));
    let content = json!({ "redacts": said.event_id });
    let draft = testing::draft("m.room.redaction", ALICE, "", content);
    let redaction = stage.room.make(Draft { state_key: None, ..draft });
    (said, redaction)
}

/// How events come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Sent,
    Backfilled,
    Outlier,
}

/// Takes events into the room in one change.
async fn take(stage: &Stage, way: Way, pdus: &[&Arc<Pdu>]) {
    let mut guard = room::lock(&stage.engine, &stage.room.room_id).await.unwrap().unwrap();
    let mut batch = Batch::new(&stage.engine, &guard);
    for pdu in pdus {
        let state_before = Some(batch.room.row.current_state).filter(|_| way != Way::Outlier);
        let outlier = batch.event(&pdu.event_id).await.unwrap();
        let redacted = outlier.filter(|event| event.redacted_by.is_some());
        let new = NewEvent {
            pdu: redacted.as_ref().map_or_else(|| (*pdu).clone(), |event| event.pdu.clone()),
            state_before,
            disposition: match way {
                Way::Outlier => Disposition::Outlier,
                Way::Sent | Way::Backfilled => Disposition::Accepted,
            },
            redacted_by: redacted.and_then(|event| event.redacted_by.clone()),
            local: false,
        };
        match way {
            Way::Backfilled => append::backfill(&mut batch, new).await.unwrap(),
            Way::Sent | Way::Outlier => append::append(&mut batch, new).await.unwrap(),
        }
    }
    batch.commit(&mut guard).await.unwrap();
}

/// Where an event stands in the timeline.
async fn place(stage: &Stage, pdu: &Pdu) -> Option<i64> {
    let mut conn = stage.engine.storage.read().await.unwrap();
    let (room_id, event_id) = (stage.room.room_id.as_str(), pdu.event_id.as_str());
    entries::find(&mut conn, room_id, event_id).await.unwrap().map(|entry| entry.pos)
}

/// That an event is redacted, in memory and on disk.
async fn assert_redacted(stage: &Stage, said: &Pdu, redaction: &Pdu) {
    let stored = store::get(&stage.engine, &stage.room.room_id, &said.event_id).await;
    let stored = stored.unwrap().unwrap();
    assert_eq!(stored.redacted_by.as_ref(), Some(&redaction.event_id));
    assert_eq!(stored.pdu.content.get(), "{}");
    let mut conn = stage.engine.storage.read().await.unwrap();
    let row = rows::get(&mut conn, stage.room.room_id.as_str(), said.event_id.as_str()).await;
    assert!(!row.unwrap().unwrap().json.contains("a mistake"));
}

#[tokio::test]
async fn a_target_that_is_sent_later() {
    on_stage(async |mut stage| {
        let (said, redaction) = pair(&mut stage);
        take(&stage, Way::Sent, &[&redaction]).await;
        assert_eq!(place(&stage, &redaction).await, None, "it is held back");
        take(&stage, Way::Sent, &[&said]).await;
        assert_redacted(&stage, &said, &redaction).await;
        assert!(place(&stage, &redaction).await.unwrap() > place(&stage, &said).await.unwrap());
    })
    .await;
}

#[tokio::test]
async fn a_target_that_is_sent_with_it() {
    on_stage(async |mut stage| {
        for way in [Way::Sent, Way::Backfilled] {
            let (said, redaction) = pair(&mut stage);
            take(&stage, way, &[&redaction, &said]).await;
            assert_redacted(&stage, &said, &redaction).await;
            assert!(place(&stage, &redaction).await.is_some(), "{way:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_target_that_is_older_history() {
    on_stage(async |mut stage| {
        let (said, redaction) = pair(&mut stage);
        take(&stage, Way::Backfilled, &[&redaction]).await;
        assert_eq!(place(&stage, &redaction).await, None, "it is held back");
        take(&stage, Way::Backfilled, &[&said]).await;
        assert_redacted(&stage, &said, &redaction).await;
        assert!(place(&stage, &redaction).await.is_some_and(|pos| pos < 0), "it is no news");
    })
    .await;
}

#[tokio::test]
async fn a_target_without_a_place() {
    on_stage(async |mut stage| {
        let (said, redaction) = pair(&mut stage);
        take(&stage, Way::Sent, &[&redaction]).await;
        take(&stage, Way::Outlier, &[&said]).await;
        assert_redacted(&stage, &said, &redaction).await;
        assert_eq!(place(&stage, &redaction).await, None, "its target is not shown either");
        take(&stage, Way::Sent, &[&said]).await;
        assert_redacted(&stage, &said, &redaction).await;
        assert!(place(&stage, &redaction).await.is_some());
    })
    .await;
}

#[tokio::test]
async fn a_redaction_of_our_own_is_shown_at_once_and_once() {
    on_stage(async |mut stage| {
        let (said, redaction) = pair(&mut stage);
        stage.append(std::slice::from_ref(&redaction)).await;
        let shown = place(&stage, &redaction).await;
        assert!(shown.is_some());
        take(&stage, Way::Sent, &[&said]).await;
        assert_redacted(&stage, &said, &redaction).await;
        assert_eq!(place(&stage, &redaction).await, shown);
    })
    .await;
}

#[tokio::test]
async fn who_may_not_redact_does_not_even_later() {
    on_stage(async |mut stage| {
        let mallory = "@mallory:b.org";
        stage.member(mallory, mallory, "join").await;
        let said = stage.room.make(message(ALICE, "it stays"));
        let content = json!({ "redacts": said.event_id });
        let draft = testing::draft("m.room.redaction", mallory, "", content);
        let redaction = stage.room.make(Draft { state_key: None, ..draft });
        take(&stage, Way::Sent, &[&redaction]).await;
        take(&stage, Way::Sent, &[&said]).await;
        let stored = store::get(&stage.engine, &stage.room.room_id, &said.event_id).await;
        assert_eq!(stored.unwrap().unwrap().redacted_by, None);
        assert_eq!(place(&stage, &redaction).await, None);
    })
    .await;
}

#[tokio::test]
async fn targets_that_are_looked_up_together() {
    on_stage(async |mut stage| {
        let (first, second, other) = (pair(&mut stage), pair(&mut stage), pair(&mut stage));
        take(&stage, Way::Sent, &[&first.1, &second.1]).await;
        let said = [&first.0, &second.0, &other.0].map(|pdu| (pdu.event_id.clone(), pdu.clone()));
        let mut guard = room::lock(&stage.engine, &stage.room.room_id).await.unwrap().unwrap();
        let mut batch = Batch::new(&stage.engine, &guard);
        outliers::add(&mut batch, &said.into_iter().collect()).await.unwrap();
        assert_eq!(batch.waiting.stored.len(), 3);
        batch.commit(&mut guard).await.unwrap();
        assert_redacted(&stage, &first.0, &first.1).await;
        assert_redacted(&stage, &second.0, &second.1).await;
        let stored = store::get(&stage.engine, &stage.room.room_id, &other.0.event_id).await;
        assert_eq!(stored.unwrap().unwrap().redacted_by, None);
    })
    .await;
}
