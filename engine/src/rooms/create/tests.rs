//! Tests of creating rooms, in every version.

use ruma::{room_alias_id, user_id};

use super::*;
use crate::test_support::{current_state, on_each_database, raw, timeline, user, wanted_room};

fn content<'a>(state: &'a [(String, String, Value)], kind: &str, state_key: &str) -> &'a Value {
    &state.iter().find(|it| it.0 == kind && it.1 == state_key).unwrap().2
}

#[tokio::test]
async fn every_version_can_be_created() {
    on_each_database(async |engine| {
        for version in versions::SUPPORTED {
            let alice = user(&engine, "alice");
            let mut wanted = wanted_room(&alice, Preset::PrivateChat);
            wanted.version = Some(version.clone());
            wanted.name = Some("N".to_owned());
            wanted.topic = Some("T".to_owned());
            wanted.invite = vec![user(&engine, "bob"), user_id!("@far:y.org").to_owned()];
            wanted.is_direct = true;
            let room_id = create(&engine, &wanted).await.unwrap();
            assert_eq!(
                timeline(&engine, &room_id).await,
                [
                    "m.room.create",
                    "m.room.member",
                    "m.room.power_levels",
                    "m.room.join_rules",
                    "m.room.history_visibility",
                    "m.room.guest_access",
                    "m.room.name",
                    "m.room.topic",
                    "m.room.member",
                ],
            );
            let state = current_state(&engine, &room_id).await;
            assert_eq!(content(&state, "m.room.create", "")["room_version"], version.as_str());
            assert_eq!(content(&state, "m.room.member", "@bob:x.org")["is_direct"], true);
            assert_eq!(content(&state, "m.room.topic", "")["m.topic"]["m.text"][0]["body"], "T");
            let room = room::load(&engine, &room_id).await.unwrap().unwrap();
            assert_eq!((room.row.joined_members, room.row.invited_members), (1, 1));
            assert_eq!(room.extremities.len(), 1);
        }
    })
    .await;
}

#[tokio::test]
async fn creators_of_version_12_stand_above_power_levels() {
    on_each_database(async |engine| {
        let (alice, bob) = (user(&engine, "alice"), user(&engine, "bob"));
        let mut wanted = wanted_room(&alice, Preset::TrustedPrivateChat);
        wanted.invite = vec![bob.clone()];
        let room_id = create(&engine, &wanted).await.unwrap();
        let state = current_state(&engine, &room_id).await;
        assert_eq!(content(&state, "m.room.create", "")["additional_creators"], json!([bob]));
        let levels = content(&state, "m.room.power_levels", "");
        assert_eq!(levels["users"], json!({}));
        assert_eq!(levels["events"]["m.room.tombstone"], 150);

        let users = json!({ "users": { alice.as_str(): 100 } });
        wanted.power_level_content_override = users.as_object().unwrap().clone();
        let refused = create(&engine, &wanted).await;
        assert!(matches!(refused, Err(CreateError::InvalidState(_))), "{refused:?}");

        wanted.version = Some(RoomVersionId::V11);
        wanted.power_level_content_override = Map::new();
        let room_id = create(&engine, &wanted).await.unwrap();
        let state = current_state(&engine, &room_id).await;
        let levels = content(&state, "m.room.power_levels", "");
        assert_eq!(levels["users"], json!({ alice.as_str(): 100, bob.as_str(): 100 }));
    })
    .await;
}

#[tokio::test]
async fn initial_state_comes_before_the_preset_and_after_nothing() {
    on_each_database(async |engine| {
        let alice = user(&engine, "alice");
        let mut wanted = wanted_room(&alice, Preset::PublicChat);
        let given = |kind: StateEventType, content: Value| InitialState {
            kind,
            state_key: String::new(),
            content: raw(content),
        };
        wanted.initial_state = vec![
            given(StateEventType::RoomJoinRules, json!({ "join_rule": "knock" })),
            given(StateEventType::RoomName, json!({ "name": "given" })),
        ];
        wanted.name = Some("named".to_owned());
        wanted.alias = Some("home".to_owned());
        wanted.published = true;
        let room_id = create(&engine, &wanted).await.unwrap();
        let state = current_state(&engine, &room_id).await;
        assert_eq!(content(&state, "m.room.join_rules", "")["join_rule"], "knock");
        assert_eq!(content(&state, "m.room.name", "")["name"], "named");
        assert_eq!(content(&state, "m.room.canonical_alias", "")["alias"], "#home:x.org");
        let alias = room_alias_id!("#home:x.org");
        let named = aliases::resolve_local(&engine, alias).await.unwrap().unwrap();
        assert_eq!(named.room_id, room_id);
        let room = room::load(&engine, &room_id).await.unwrap().unwrap();
        assert!(room.row.published);

        assert!(matches!(create(&engine, &wanted).await, Err(CreateError::AliasTaken)));
        wanted.alias = None;
        wanted.initial_state = vec![given(StateEventType::RoomCreate, json!({}))];
        assert!(matches!(create(&engine, &wanted).await, Err(CreateError::BadContent(_))));
        wanted.initial_state = vec![given("x".into(), json!([]))];
        assert!(matches!(create(&engine, &wanted).await, Err(CreateError::BadContent(_))));
        wanted.initial_state = vec![given("x".into(), json!({ "f": 0.5 }))];
        assert!(matches!(create(&engine, &wanted).await, Err(CreateError::BadContent(_))));
        wanted.initial_state = vec![];
        wanted.version = Some("org.example.none".try_into().unwrap());
        assert!(matches!(create(&engine, &wanted).await, Err(CreateError::UnsupportedVersion)));
    })
    .await;
}

#[tokio::test]
async fn a_public_room_says_nothing_of_guests() {
    on_each_database(async |engine| {
        let wanted = wanted_room(&user(&engine, "alice"), Preset::PublicChat);
        let room_id = create(&engine, &wanted).await.unwrap();
        let state = current_state(&engine, &room_id).await;
        assert_eq!(content(&state, "m.room.join_rules", "")["join_rule"], "public");
        assert!(state.iter().all(|it| it.0 != "m.room.guest_access"));
    })
    .await;
}
