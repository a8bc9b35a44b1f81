//! Tests of upgrades, from every version to every other.

use ruma::{UserId, user_id};
use serde_json::json;
use starling_storage::{account_data, rooms as rows};

use super::*;
use crate::{
    accounts::data,
    rooms::{
        create::InitialState,
        membership::{
            invite::{self, Invite},
            join::{self, Join},
            leave,
            remove::{self, Removal},
        },
        send::{self, SetState},
    },
    test_support::{current_state, on_each_database, raw, timeline, user, wanted_room},
};

type State = Vec<(String, String, Value)>;

fn get<'a>(state: &'a State, kind: &str, state_key: &str) -> &'a Value {
    let found = state.iter().find(|it| it.0 == kind && it.1 == state_key);
    found.map_or(&Value::Null, |it| &it.2)
}

fn initial(kind: &str, content: Value) -> InitialState {
    InitialState { kind: kind.into(), state_key: String::new(), content: raw(content) }
}

async fn room(engine: &Engine, creator: &UserId, version: RoomVersionId) -> OwnedRoomId {
    let mut wanted = wanted_room(creator, Preset::PublicChat);
    wanted.name = Some("N".to_owned());
    wanted.topic = Some("T".to_owned());
    wanted.alias = Some(format!("a{version}-{}", engine.clock.now_ms()));
    wanted.published = true;
    wanted.version = Some(version);
    wanted.creation_content = serde_json::from_value(json!({ "type": "x", "x": 1 })).unwrap();
    wanted.initial_state = vec![
        initial("m.room.encryption", json!({ "algorithm": "m.megolm.v1.aes-sha2" })),
        initial("m.room.server_acl", json!({ "allow": ["*"], "deny": ["evil.org"] })),
        initial("org.example", json!({})),
    ];
    create::create(engine, &wanted).await.unwrap()
}

async fn enter(engine: &Engine, user_id: &UserId, room_id: &RoomId) {
    let more = Map::new();
    let wanted = Join { user_id, room_id, via: vec![], reason: None, more };
    join::join(engine, wanted).await.unwrap();
}

fn wanted_upgrade(room_id: &RoomId, user_id: &UserId, version: RoomVersionId) -> Upgrade {
    let (room_id, user_id) = (room_id.to_owned(), user_id.to_owned());
    Upgrade { room_id, user_id, version, additional_creators: vec![] }
}

#[tokio::test]
async fn every_version_becomes_every_other() {
    on_each_database(async |engine| {
        let alice = user(&engine, "alice");
        for (from, to) in [
            (RoomVersionId::V1, RoomVersionId::V12),
            (RoomVersionId::V5, RoomVersionId::V6),
            (RoomVersionId::V10, RoomVersionId::V11),
            (RoomVersionId::V12, RoomVersionId::V12),
            (RoomVersionId::V12, RoomVersionId::V1),
        ] {
            let old = room(&engine, &alice, from.clone()).await;
            let banned = user_id!("@mallory:y.org");
            let reason = Some("spam".to_owned());
            let ban = Removal { room_id: &old, sender: &alice, target: banned, reason };
            remove::ban(&engine, ban).await.unwrap();
            let new = upgrade(&engine, &wanted_upgrade(&old, &alice, to.clone())).await.unwrap();

            let (before, after) =
                (current_state(&engine, &old).await, current_state(&engine, &new).await);
            let create = get(&after, "m.room.create", "");
            assert_eq!(create["room_version"], to.as_str());
            assert_eq!((&create["type"], &create["x"]), (&json!("x"), &Value::Null));
            assert_eq!(create["predecessor"]["room_id"], old.as_str());
            assert_eq!(create["predecessor"].get("event_id").is_some(), to != RoomVersionId::V12);
            for kind in ["name", "topic", "join_rules", "encryption", "server_acl"] {
                let kind = format!("m.room.{kind}");
                assert_eq!(get(&before, &kind, ""), get(&after, &kind, ""), "{from} → {to}");
                assert!(get(&after, &kind, "").is_object(), "{kind}");
            }
            assert!(get(&after, "org.example", "").is_null());
            let ban = json!({ "membership": "ban", "reason": "spam" });
            assert_eq!(*get(&after, "m.room.member", banned.as_str()), ban);
            let users = &get(&after, "m.room.power_levels", "")["users"];
            let level =
                if to == RoomVersionId::V12 { json!({}) } else { json!({ (&*alice): 150 }) };
            let level = match from == to || from == RoomVersionId::V12 || to == RoomVersionId::V12 {
                true => level,
                false => json!({ (&*alice): 100 }),
            };
            assert_eq!(*users, level, "{from} → {to}");

            let tombstone = get(&before, "m.room.tombstone", "");
            assert_eq!(tombstone["replacement_room"], new.as_str());
            let levels = get(&before, "m.room.power_levels", "");
            assert_eq!((&levels["events_default"], &levels["invite"]), (&json!(50), &json!(50)));
            assert!(get(&before, "m.room.canonical_alias", "").get("alias").is_none());
            let alias = get(&after, "m.room.canonical_alias", "")["alias"].as_str().unwrap();
            let mut conn = engine.storage.read().await.unwrap();
            let named = rows::alias(&mut conn, alias).await.unwrap().unwrap();
            assert_eq!(named.room_id, new.as_str());
            let listed = async |conn: &mut _, id: &RoomId| {
                rows::get(conn, id.as_str()).await.unwrap().unwrap().published
            };
            assert!(listed(&mut conn, &new).await && !listed(&mut conn, &old).await);
        }
    })
    .await;
}

#[tokio::test]
async fn who_may_not_changes_nothing() {
    on_each_database(async |engine| {
        let (alice, bob) = (user(&engine, "alice"), user(&engine, "bob"));
        let old = room(&engine, &alice, RoomVersionId::V11).await;
        let before = timeline(&engine, &old).await;
        for member in [false, true] {
            let wanted = wanted_upgrade(&old, &bob, RoomVersionId::V12);
            let refused = upgrade(&engine, &wanted).await;
            assert!(matches!(refused, Err(UpgradeError::Forbidden(_))), "{refused:?}");
            if !member {
                enter(&engine, &bob, &old).await;
            }
        }
        assert_eq!(timeline(&engine, &old).await.len(), before.len() + 1);
        let mut wanted = wanted_upgrade(&old, &alice, "org.example".try_into().unwrap());
        let refused = upgrade(&engine, &wanted).await;
        assert!(matches!(refused, Err(UpgradeError::UnsupportedVersion)));
        wanted.version = RoomVersionId::V12;
        wanted.additional_creators = vec![bob; MAX_CREATORS + 1];
        let refused = upgrade(&engine, &wanted).await;
        assert!(matches!(refused, Err(UpgradeError::TooMuch(_))));
    })
    .await;
}

#[tokio::test]
async fn a_space_keeps_its_rooms() {
    on_each_database(async |engine| {
        let alice = user(&engine, "alice");
        let mut wanted = wanted_room(&alice, Preset::PublicChat);
        wanted.creation_content = serde_json::from_value(json!({ "type": "m.space" })).unwrap();
        for (kind, key, content) in [
            ("m.space.child", "!a:x.org", json!({ "via": ["x.org"], "order": "1" })),
            ("m.space.child", "!gone:x.org", json!({})),
            ("m.space.parent", "!b:x.org", json!({ "via": ["x.org"] })),
        ] {
            let (kind, state_key) = (kind.into(), key.to_owned());
            wanted.initial_state.push(InitialState { kind, state_key, content: raw(content) });
        }
        let old = create::create(&engine, &wanted).await.unwrap();
        let wanted = wanted_upgrade(&old, &alice, RoomVersionId::V12);
        let new = upgrade(&engine, &wanted).await.unwrap();
        let state = current_state(&engine, &new).await;
        assert_eq!(get(&state, "m.space.child", "!a:x.org")["order"], "1");
        assert!(get(&state, "m.space.child", "!gone:x.org").is_null());
        assert!(get(&state, "m.space.parent", "!b:x.org").is_null());
    })
    .await;
}

#[tokio::test]
async fn who_follows_takes_their_settings_along() {
    on_each_database(async |engine| {
        let (alice, bob) = (user(&engine, "alice"), user(&engine, "bob"));
        let old = room(&engine, &alice, RoomVersionId::V11).await;
        enter(&engine, &bob, &old).await;
        let direct = json!({ (&*alice): [old] }).to_string();
        data::set(&engine, &bob, None, "m.direct", direct).await.unwrap();
        data::set_tag(&engine, &bob, &old, "m.favourite", Some(json!({}))).await.unwrap();
        data::set(&engine, &bob, Some(&old), "org.example", "{\"a\":1}".into()).await.unwrap();
        let wanted = wanted_upgrade(&old, &alice, RoomVersionId::V12);
        let new = upgrade(&engine, &wanted).await.unwrap();
        enter(&engine, &bob, &new).await;
        assert!(data::tags(&engine, &bob, &new).await.unwrap().contains_key("m.favourite"));
        let mut conn = engine.storage.read().await.unwrap();
        let mut own = account_data::of_room(&mut conn, bob.as_str(), new.as_str()).await.unwrap();
        own.retain(|(kind, _)| kind == "org.example");
        assert_eq!(own, [("org.example".to_owned(), "{\"a\":1}".to_owned())]);
        let direct = account_data::get(&mut conn, bob.as_str(), "", "m.direct").await.unwrap();
        let direct: Value = serde_json::from_str(&direct.unwrap()).unwrap();
        assert_eq!(direct, json!({ (&*alice): [old, new] }));
    })
    .await;
}

async fn direct_rooms(engine: &Engine, user_id: &UserId) -> Value {
    let mut conn = engine.storage.read().await.unwrap();
    let direct = account_data::get(&mut conn, user_id.as_str(), "", "m.direct").await.unwrap();
    serde_json::from_str(&direct.unwrap()).unwrap()
}

#[tokio::test]
async fn a_room_that_only_says_to_be_the_successor_gets_nothing() {
    on_each_database(async |engine| {
        let (alice, bob) = (user(&engine, "alice"), user(&engine, "bob"));
        let old = room(&engine, &alice, RoomVersionId::V11).await;
        enter(&engine, &bob, &old).await;
        let direct = json!({ (&*alice): [old] });
        data::set(&engine, &bob, None, "m.direct", direct.to_string()).await.unwrap();
        data::set_tag(&engine, &bob, &old, "m.favourite", Some(json!({}))).await.unwrap();
        let eve = user(&engine, "eve");
        let mut wanted = wanted_room(&eve, Preset::PublicChat);
        wanted.creation_content =
            serde_json::from_value(json!({ "predecessor": { "room_id": old } })).unwrap();
        let claims = create::create(&engine, &wanted).await.unwrap();
        enter(&engine, &bob, &claims).await;
        assert!(data::tags(&engine, &bob, &claims).await.unwrap().is_empty());
        assert_eq!(direct_rooms(&engine, &bob).await, direct);
    })
    .await;
}

#[tokio::test]
async fn what_was_removed_in_the_new_room_does_not_come_back() {
    on_each_database(async |engine| {
        let (alice, bob) = (user(&engine, "alice"), user(&engine, "bob"));
        let old = room(&engine, &alice, RoomVersionId::V11).await;
        enter(&engine, &bob, &old).await;
        let direct = json!({ (&*alice): [old] });
        data::set(&engine, &bob, None, "m.direct", direct.to_string()).await.unwrap();
        let wanted = wanted_upgrade(&old, &alice, RoomVersionId::V12);
        let new = upgrade(&engine, &wanted).await.unwrap();
        // To refuse an invite is not to have been there.
        let member = Member::default();
        let (room_id, sender, target) = (&*new, &*alice, &*bob);
        let invited =
            || invite::invite(&engine, Invite { room_id, sender, target, member: member.clone() });
        invited().await.unwrap();
        leave::leave(&engine, &bob, &new, None).await.unwrap();
        enter(&engine, &bob, &new).await;
        assert_eq!(direct_rooms(&engine, &bob).await, json!({ (&*alice): [old, new] }));
        data::set(&engine, &bob, None, "m.direct", direct.to_string()).await.unwrap();
        for is_invited in [false, true] {
            leave::leave(&engine, &bob, &new, None).await.unwrap();
            if is_invited {
                invited().await.unwrap();
            }
            enter(&engine, &bob, &new).await;
            assert_eq!(direct_rooms(&engine, &bob).await, direct, "invited: {is_invited}");
        }
    })
    .await;
}

/// Sends a state event that is as long as one may be, up to a few bytes.
async fn set_longest(
    engine: &Engine,
    sender: &UserId,
    room_id: &RoomId,
    kind: &str,
    content: Value,
) {
    for length in (60_000..65_536).rev().step_by(16) {
        let mut content = content.clone();
        content["x"] = "x".repeat(length).into();
        let event = SetState {
            room_id: room_id.to_owned(),
            sender: sender.to_owned(),
            kind: kind.into(),
            state_key: String::new(),
            content: raw(content),
            ts: None,
        };
        if send::state(engine, event).await.is_ok() {
            return;
        }
    }
    panic!("no event was short enough");
}

#[tokio::test]
async fn what_protects_a_room_is_not_left_out() {
    on_each_database(async |engine| {
        let alice = user(&engine, "alice");
        // In the first versions the same content makes a longer event.
        let old = room(&engine, &alice, RoomVersionId::V12).await;
        set_longest(&engine, &alice, &old, "m.room.topic", json!({ "topic": "long" })).await;
        let wanted = wanted_upgrade(&old, &alice, RoomVersionId::V1);
        let new = upgrade(&engine, &wanted).await.unwrap();
        assert!(get(&current_state(&engine, &new).await, "m.room.topic", "").is_null());

        let old = room(&engine, &alice, RoomVersionId::V12).await;
        let acl = json!({ "allow": ["*"], "deny": ["evil.org"] });
        set_longest(&engine, &alice, &old, "m.room.server_acl", acl).await;
        let before = timeline(&engine, &old).await;
        let refused = upgrade(&engine, &wanted_upgrade(&old, &alice, RoomVersionId::V1)).await;
        let is_told =
            matches!(refused, Err(UpgradeError::InvalidState(_) | UpgradeError::TooMuch(_)));
        assert!(is_told, "{refused:?}");
        assert_eq!(timeline(&engine, &old).await.len(), before.len());
    })
    .await;
}

#[tokio::test]
async fn who_becomes_a_creator_is_banned_no_more() {
    on_each_database(async |engine| {
        let alice = user(&engine, "alice");
        let banned = user_id!("@mallory:y.org");
        for (version, stays) in [(RoomVersionId::V12, false), (RoomVersionId::V11, true)] {
            let old = room(&engine, &alice, RoomVersionId::V11).await;
            let ban = Removal { room_id: &old, sender: &alice, target: banned, reason: None };
            remove::ban(&engine, ban).await.unwrap();
            let mut wanted = wanted_upgrade(&old, &alice, version);
            wanted.additional_creators = vec![banned.to_owned()];
            let new = upgrade(&engine, &wanted).await.unwrap();
            let state = current_state(&engine, &new).await;
            assert_eq!(get(&state, "m.room.member", banned.as_str()).is_object(), stays);
        }
    })
    .await;
}
