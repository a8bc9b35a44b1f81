//! Tests of sending: one effect per transaction, rules, redactions, unread numbers.

use ruma::{RoomVersionId, device_id};
use serde_json::json;
use starling_storage::{events as rows, timeline, unread};

use super::*;
use crate::{
    rooms::{
        create::{Preset, create},
        versions,
    },
    test_support::{current_state, on_each_database, raw, text, user, wanted_room},
};

async fn room_of(engine: &Engine, version: RoomVersionId) -> (OwnedRoomId, OwnedUserId) {
    let alice = user(engine, "alice");
    let mut wanted = wanted_room(&alice, Preset::PublicChat);
    wanted.version = Some(version);
    (create(engine, &wanted).await.unwrap(), alice)
}

fn topic(room_id: &RoomId, sender: &UserId, topic: &str) -> SetState {
    SetState {
        room_id: room_id.to_owned(),
        sender: sender.to_owned(),
        kind: StateEventType::RoomTopic,
        state_key: String::new(),
        content: raw(json!({ "topic": topic })),
        ts: None,
    }
}

#[tokio::test]
async fn a_transaction_has_one_effect() {
    on_each_database(async |engine| {
        let (room_id, alice) = room_of(&engine, RoomVersionId::V12).await;
        let transaction = |txn_id: &str| {
            Some(Transaction {
                device_id: device_id!("D").to_owned(),
                path: "/send".to_owned(),
                txn_id: txn_id.to_owned(),
            })
        };
        let say = |txn_id: &str| Message {
            transaction: transaction(txn_id),
            ..text(&room_id, &alice, "hi")
        };
        let first = message(&engine, say("1")).await.unwrap();
        assert_eq!(message(&engine, say("1")).await.unwrap(), first);
        assert_ne!(message(&engine, say("2")).await.unwrap(), first);
        let say = |_| message(&engine, say("3"));
        let same = futures_util::future::join_all((0..5).map(say)).await;
        let ids: std::collections::HashSet<_> = same.into_iter().map(Result::unwrap).collect();
        assert_eq!(ids.len(), 1);
    })
    .await;
}

/// Messages go ahead of their commit; of those that lose their transaction the followers are made anew.
#[tokio::test]
async fn what_many_say_at_once_stands_in_one_line() {
    on_each_database(async |engine| {
        let (room_id, alice) = room_of(&engine, RoomVersionId::V12).await;
        let say = async |n: usize| match n % 10 {
            9 => state(&engine, topic(&room_id, &alice, &n.to_string())).await.unwrap(),
            kind => {
                let transaction = (kind < 3).then(|| Transaction {
                    device_id: device_id!("D").to_owned(),
                    path: "/send".to_owned(),
                    txn_id: kind.to_string(),
                });
                let said = Message { transaction, ..text(&room_id, &alice, &n.to_string()) };
                message(&engine, said).await.unwrap()
            }
        };
        let ids = futures_util::future::join_all((0..60).map(say)).await;
        let ids: std::collections::BTreeSet<_> = ids.into_iter().collect();
        assert_eq!(ids.len(), 45, "three transactions, each made six times");
        let ids: Vec<_> = ids.into_iter().collect();
        let mut events: Vec<_> =
            store::get_many(&engine, &room_id, &ids).await.unwrap().into_values().collect();
        events.sort_by_key(|event| event.pdu.depth);
        for (earlier, later) in events.iter().zip(events.iter().skip(1)) {
            assert_eq!(later.pdu.prev_events, std::slice::from_ref(&earlier.pdu.event_id));
        }
        let room = room::load(&engine, &room_id).await.unwrap().unwrap();
        let last = events.last().unwrap().pdu.event_id.clone();
        assert_eq!(room.extremities, [last].into());
        let mut conn = engine.storage.read().await.unwrap();
        let shown = timeline::newest(&mut conn, room_id.as_str(), 0, i64::MAX, 45).await.unwrap();
        let shown: Vec<_> = shown.into_iter().rev().map(|entry| entry.event_id).collect();
        let line: Vec<_> = events.iter().map(|event| event.pdu.event_id.to_string()).collect();
        assert_eq!(shown, line);
    })
    .await;
}

#[tokio::test]
async fn the_same_state_is_not_set_twice() {
    on_each_database(async |engine| {
        let (room_id, alice) = room_of(&engine, RoomVersionId::V11).await;
        let first = state(&engine, topic(&room_id, &alice, "a")).await.unwrap();
        assert_eq!(state(&engine, topic(&room_id, &alice, "a")).await.unwrap(), first);
        let other = state(&engine, topic(&room_id, &alice, "b")).await.unwrap();
        assert_ne!(other, first);
        let state = current_state(&engine, &room_id).await;
        let topic = state.iter().find(|it| it.0 == "m.room.topic").unwrap();
        assert_eq!(topic.2["topic"], "b");
    })
    .await;
}

#[tokio::test]
async fn rules_are_kept() {
    on_each_database(async |engine| {
        let (room_id, alice) = room_of(&engine, RoomVersionId::V12).await;
        let stranger = user(&engine, "stranger");
        let refused = message(&engine, text(&room_id, &stranger, "hi")).await;
        assert!(matches!(refused, Err(SendError::Forbidden(_))));
        let elsewhere = text(ruma::room_id!("!no:x.org"), &alice, "hi");
        assert!(matches!(message(&engine, elsewhere).await, Err(SendError::NotInRoom)));
        let huge = message(&engine, text(&room_id, &alice, &"x".repeat(66_000))).await;
        assert!(matches!(huge, Err(SendError::TooLarge)));
        let just_too_large = message(&engine, text(&room_id, &alice, &"x".repeat(65_000))).await;
        assert!(matches!(just_too_large, Err(SendError::TooLarge)));
        let long = Message { kind: "x".repeat(256).into(), ..text(&room_id, &alice, "") };
        assert!(matches!(message(&engine, long).await, Err(SendError::TooLarge)));
        let float = Message { content: raw(json!({ "f": 1.5 })), ..text(&room_id, &alice, "") };
        assert!(matches!(message(&engine, float).await, Err(SendError::BadContent(_))));
        let create = SetState { kind: StateEventType::RoomCreate, ..topic(&room_id, &alice, "") };
        assert!(matches!(state(&engine, create).await, Err(SendError::BadContent(_))));
        let alias = SetState {
            kind: StateEventType::RoomCanonicalAlias,
            content: raw(json!({ "alias": "#none:x.org" })),
            ..topic(&room_id, &alice, "")
        };
        assert!(matches!(state(&engine, alias).await, Err(SendError::BadAlias(_))));
    })
    .await;
}

#[tokio::test]
async fn redactions_empty_their_target_in_every_version() {
    on_each_database(async |engine| {
        for version in versions::SUPPORTED {
            let (room_id, alice) = room_of(&engine, version.clone()).await;
            let target = message(&engine, text(&room_id, &alice, "secret")).await.unwrap();
            let redaction = Message {
                kind: TimelineEventType::RoomRedaction,
                content: raw(json!({ "redacts": target, "reason": "r" })),
                ..text(&room_id, &alice, "")
            };
            let redaction = message(&engine, redaction).await.unwrap();
            let event = store::get(&engine, &room_id, &target).await.unwrap().unwrap();
            assert_eq!(event.redacted_by.as_ref(), Some(&redaction));
            assert_eq!(event.pdu.content.get(), "{}");
            let mut conn = engine.storage.read().await.unwrap();
            let row = rows::get(&mut conn, room_id.as_str(), target.as_str()).await.unwrap();
            drop(conn);
            assert!(!row.unwrap().json.contains("secret"), "version {version}");
            let redaction = store::get(&engine, &room_id, &redaction).await.unwrap().unwrap();
            assert_eq!(redaction.pdu.redacts.as_ref(), Some(&target));
            assert_eq!(redaction.pdu.content_str("reason").as_deref(), Some("r"));
        }
    })
    .await;
}

#[tokio::test]
async fn unread_numbers_run_per_room_and_thread() {
    on_each_database(async |engine| {
        let (room_id, alice) = room_of(&engine, RoomVersionId::V12).await;
        let root = message(&engine, text(&room_id, &alice, "root")).await.unwrap();
        let related = |rel_type: &str| Message {
            content: raw(json!({
                "msgtype": "m.text", "body": "x",
                "m.relates_to": { "rel_type": rel_type, "event_id": root },
            })),
            ..text(&room_id, &alice, "")
        };
        let threaded = message(&engine, related("m.thread")).await.unwrap();
        let edit = message(&engine, related("m.replace")).await.unwrap();
        let mut conn = engine.storage.read().await.unwrap();
        let mut numbers = Vec::new();
        for event_id in [&root, &threaded, &edit] {
            let entry = timeline::find(&mut conn, room_id.as_str(), event_id.as_str()).await;
            let entry = entry.unwrap().unwrap();
            numbers.push((entry.numbers.notify, entry.pos));
        }
        let pos = |index: usize| numbers[index].1;
        assert_eq!(numbers.iter().map(|it| it.0).collect::<Vec<_>>(), [1, 1, 0]);
        let marks = unread::marks(&mut conn, alice.as_str(), room_id.as_str()).await.unwrap();
        let marks: Vec<_> = marks.into_iter().map(|mark| (mark.thread, mark.pos)).collect();
        assert_eq!(marks, [(String::new(), pos(2)), (root.to_string(), pos(1))]);
    })
    .await;
}

#[tokio::test]
async fn nobody_gets_into_a_blocked_room_and_who_is_in_it_may_still_change_their_name() {
    on_each_database(async |engine| {
        let (room_id, alice) = room_of(&engine, RoomVersionId::V12).await;
        blocked::set(&engine, &room_id, Some("@admin:x.org")).await.unwrap();
        let join = |user: &UserId| SetState {
            kind: StateEventType::RoomMember,
            state_key: user.to_string(),
            content: raw(json!({ "membership": "join", "displayname": "A new name" })),
            ..topic(&room_id, user, "")
        };
        let refused = state(&engine, join(&user(&engine, "bob"))).await;
        assert!(matches!(refused, Err(SendError::Forbidden(_))), "{refused:?}");
        state(&engine, join(&alice)).await.unwrap();
    })
    .await;
}
