//! Delayed events over an engine, on each database.

use ruma::{device_id, events::StateEventType};
use serde_json::json;

use super::*;
use crate::{
    config::DelayedEvents,
    rooms::{
        create::{Preset, create},
        membership::leave,
    },
    test_support::{
        current_state, engine_with, on_each_database, raw, timeline, user, wanted_room,
    },
    testing::NoServers,
};

const KIND: &str = "org.example";

async fn room(engine: &Engine) -> (OwnedRoomId, OwnedUserId) {
    let alice = user(engine, "alice");
    (create(engine, &wanted_room(&alice, Preset::PublicChat)).await.unwrap(), alice)
}

fn later(room_id: &RoomId, sender: &UserId, kind: &str, delay_ms: i64) -> Later {
    Later {
        room_id: room_id.to_owned(),
        sender: sender.to_owned(),
        kind: kind.into(),
        state_key: None,
        content: raw(json!({})),
        delay_ms,
        transaction: None,
    }
}

/// Lets time pass: the clock moves when it is looked at.
fn pass(engine: &Engine, ms: i64) {
    let until = engine.clock.now_ms() + ms;
    while engine.clock.now_ms() < until {}
}

async fn said(engine: &Engine, room_id: &RoomId) -> Vec<String> {
    let mut kinds = timeline(engine, room_id).await;
    kinds.retain(|kind| kind.starts_with(KIND));
    kinds
}

#[tokio::test]
async fn what_is_due_is_sent_in_its_order_and_once() {
    on_each_database(async |engine| {
        let (room_id, alice) = room(&engine).await;
        for (kind, delay_ms) in [("b", 2_000), ("a", 1_000), ("never", 1_000_000)] {
            let event = later(&room_id, &alice, &format!("{KIND}.{kind}"), delay_ms);
            schedule(&engine, event).await.unwrap();
        }
        let sleep = send_due(&engine).await.unwrap();
        assert!(sleep < Duration::from_secs(1), "{sleep:?}");
        assert!(said(&engine, &room_id).await.is_empty());
        pass(&engine, 2_000);
        for _ in 0..2 {
            assert_eq!(send_due(&engine).await.unwrap(), LONGEST_SLEEP);
            assert_eq!(said(&engine, &room_id).await, ["org.example.a", "org.example.b"]);
        }
        assert_eq!(of_user(&engine, &alice).await.unwrap().len(), 1);
    })
    .await;
}

/// The process ends when an event is sent, and before anything else is done about it.
#[tokio::test]
async fn what_was_sent_before_a_crash_is_not_sent_again() {
    on_each_database(async |engine| {
        let (room_id, alice) = room(&engine).await;
        let state = Later { state_key: Some(String::new()), ..later(&room_id, &alice, KIND, 1) };
        for event in [later(&room_id, &alice, KIND, 1), state] {
            let delay_id = schedule(&engine, event).await.unwrap();
            let row = get(&engine, &delay_id).await.unwrap().unwrap();
            send_as_user(&engine, row.clone()).await.unwrap();
            assert_eq!(get(&engine, &delay_id).await.unwrap(), None);
            // As if it had not been noted either.
            write(&engine, Write::Put(row)).await.unwrap();
        }
        // Somebody says something else before the server is there again.
        let content = raw(json!({ "newer": true }));
        let (kind, state_key) = (StateEventType::from(KIND), String::new());
        let newer = SetState {
            room_id: room_id.clone(),
            sender: alice.clone(),
            kind,
            state_key,
            content,
            ts: None,
        };
        send::state(&engine, newer).await.unwrap();
        pass(&engine, 1);
        send_due(&engine).await.unwrap();
        assert_eq!(said(&engine, &room_id).await.len(), 3);
        let state = current_state(&engine, &room_id).await;
        let now = state.iter().find(|(kind, ..)| kind == KIND).unwrap();
        assert_eq!(now.2, json!({ "newer": true }));
        assert!(of_user(&engine, &alice).await.unwrap().is_empty());
    })
    .await;
}

#[tokio::test]
async fn events_are_cancelled_restarted_and_sent_at_once() {
    on_each_database(async |engine| {
        let (room_id, alice) = room(&engine).await;
        let mut ids = Vec::new();
        for kind in ["cancelled", "restarted", "sent"] {
            let event = later(&room_id, &alice, &format!("{KIND}.{kind}"), 1_000);
            ids.push(schedule(&engine, event).await.unwrap());
        }
        pass(&engine, 900);
        cancel(&engine, &ids[0]).await.unwrap();
        restart(&engine, &ids[1]).await.unwrap();
        send(&engine, &ids[2]).await.unwrap();
        for id in [&ids[0], &ids[2], "nothing"] {
            for refused in
                [cancel(&engine, id).await, restart(&engine, id).await, send(&engine, id).await]
            {
                assert!(matches!(refused, Err(ManageError::NotFound)), "{refused:?}");
            }
        }
        pass(&engine, 100);
        send_due(&engine).await.unwrap();
        assert_eq!(said(&engine, &room_id).await, ["org.example.sent"]);
        pass(&engine, 1_000);
        send_due(&engine).await.unwrap();
        assert_eq!(said(&engine, &room_id).await, ["org.example.sent", "org.example.restarted"]);
    })
    .await;
}

#[tokio::test]
async fn who_has_left_says_nothing_any_more() {
    on_each_database(async |engine| {
        let (room_id, alice) = room(&engine).await;
        let delay_id = schedule(&engine, later(&room_id, &alice, KIND, 1)).await.unwrap();
        schedule(&engine, later(&room_id, &alice, KIND, 1)).await.unwrap();
        leave::leave(&engine, &alice, &room_id, None).await.unwrap();
        let refused = send(&engine, &delay_id).await;
        assert!(matches!(refused, Err(ManageError::Refused(_))), "{refused:?}");
        pass(&engine, 1);
        send_due(&engine).await.unwrap();
        assert!(of_user(&engine, &alice).await.unwrap().is_empty());
        assert!(said(&engine, &room_id).await.is_empty());
        let refused = schedule(&engine, later(&room_id, &alice, KIND, 1)).await;
        assert!(matches!(refused, Err(DelayError::NotInRoom)), "{refused:?}");
    })
    .await;
}

#[tokio::test]
async fn a_transaction_has_one_event_wait() {
    on_each_database(async |engine| {
        let (room_id, alice) = room(&engine).await;
        let transaction = Transaction {
            device_id: device_id!("D").to_owned(),
            path: "p".to_owned(),
            txn_id: "1".to_owned(),
        };
        assert_eq!(named(&engine, &alice, &transaction).await.unwrap(), None);
        let event = Later {
            transaction: Some(transaction.clone()),
            ..later(&room_id, &alice, KIND, 1_000)
        };
        let delay_id = schedule(&engine, event.clone()).await.unwrap();
        assert_eq!(schedule(&engine, event).await.unwrap(), delay_id);
        send(&engine, &delay_id).await.unwrap();
        assert_eq!(named(&engine, &alice, &transaction).await.unwrap(), Some(delay_id));
        assert_eq!(said(&engine, &room_id).await.len(), 1);
    })
    .await;
}

#[tokio::test]
async fn there_are_limits() {
    let body = async |storage| {
        let mut config = crate::test_support::config("x.org");
        config.delayed_events =
            DelayedEvents { enabled: true, longest_ms: 1_000, most_per_user: 1 };
        let engine = engine_with(storage, config, std::sync::Arc::new(NoServers)).await;
        let (room_id, alice) = room(&engine).await;
        let wanted = |delay_ms| later(&room_id, &alice, KIND, delay_ms);
        let refused = schedule(&engine, wanted(0)).await;
        assert!(matches!(refused, Err(DelayError::NoDelay)), "{refused:?}");
        let refused = schedule(&engine, wanted(1_001)).await;
        assert!(matches!(refused, Err(DelayError::TooLong(1_000))), "{refused:?}");
        let large = Later { content: raw(json!({ "x": "x".repeat(LARGEST) })), ..wanted(1) };
        let refused = schedule(&engine, large).await;
        assert!(matches!(refused, Err(DelayError::TooLarge)), "{refused:?}");
        schedule(&engine, wanted(1_000)).await.unwrap();
        let refused = schedule(&engine, wanted(1_000)).await;
        assert!(matches!(refused, Err(DelayError::TooMany)), "{refused:?}");
    };
    starling_storage::test_support::on_each_database(body).await.unwrap();
}
