//! POST /_matrix/client/unstable/org.matrix.simplified_msc3575/sync

use std::time::Duration;

use serde_json::{Value, json};
use starling_conformance::client::{Sync, User, path};

use super::connection::{Connection, SIMPLIFIED, all, ids, places};
use crate::support;

#[tokio::test]
async fn it_is_advertised_and_needs_an_access_token() {
    let anonymous = support::anonymous().await;
    let versions = anonymous.get("/_matrix/client/versions").await.unwrap().ok().unwrap();
    assert_eq!(versions["unstable_features"]["org.matrix.simplified_msc3575"], true);
    let answer = anonymous.post(SIMPLIFIED, json!({})).await.unwrap();
    answer.expect_error(401, "M_MISSING_TOKEN").unwrap();
}

#[tokio::test]
async fn what_is_no_request_is_refused() {
    let alice = support::user("alice").await;
    let list = json!({ "ranges": [[0, 1]], "timeline_limit": 1, "required_state": [] });
    let lists = |count: usize| -> Value {
        (0..count)
            .map(|number| (format!("l{number}"), list.clone()))
            .collect::<serde_json::Map<_, _>>()
            .into()
    };
    let rooms = |count: usize| -> Value {
        let room = json!({ "timeline_limit": 1, "required_state": [] });
        let named = (0..count).map(|number| (format!("!r{number}:x"), room.clone()));
        named.collect::<serde_json::Map<_, _>>().into()
    };
    let with = |key: &str, value: Value| {
        let mut list = list.clone();
        list[key] = value;
        json!({ "lists": { "a": list } })
    };
    let long = "x".repeat(256);
    let many = |what: Value| Value::Array(vec![what; 201]);
    for (body, errcode) in [
        (json!({ "lists": lists(101) }), "M_INVALID_PARAM"),
        (json!({ "room_subscriptions": rooms(101) }), "M_INVALID_PARAM"),
        (json!({ "conn_id": long }), "M_INVALID_PARAM"),
        (json!({ "lists": { (&long): list } }), "M_INVALID_PARAM"),
        (with("ranges", json!([[2, 1]])), "M_INVALID_PARAM"),
        (with("ranges", many(json!([0, 1]))), "M_INVALID_PARAM"),
        (with("required_state", json!([["a", long]])), "M_INVALID_PARAM"),
        (with("filters", json!({ "tags": many(json!("u.x")) })), "M_INVALID_PARAM"),
        (with("filters", json!({ "spaces": [long] })), "M_INVALID_PARAM"),
        (
            json!({ "extensions": { "to_device": { "enabled": true, "since": "x" } } }),
            "M_INVALID_PARAM",
        ),
        (
            json!({ "extensions": { "typing": { "enabled": true, "rooms": [long] } } }),
            "M_INVALID_PARAM",
        ),
        (json!({ "lists": [] }), "M_BAD_JSON"),
        (with("ranges", json!([[0]])), "M_BAD_JSON"),
        (with("ranges", json!([[-1, 2]])), "M_BAD_JSON"),
        (with("timeline_limit", json!(-1)), "M_BAD_JSON"),
        (with("required_state", json!([["a"]])), "M_BAD_JSON"),
        (with("filters", json!({ "is_dm": "yes" })), "M_BAD_JSON"),
        (json!({ "extensions": { "e2ee": true } }), "M_BAD_JSON"),
        (json!([]), "M_BAD_JSON"),
    ] {
        let answer = alice.api.post(SIMPLIFIED, body.clone()).await.unwrap();
        answer.expect_error(400, errcode).unwrap_or_else(|error| panic!("{error}: {body}"));
    }
    alice.api.post(SIMPLIFIED, json!({ "lists": lists(100) })).await.unwrap().ok().unwrap();
    alice
        .api
        .post(SIMPLIFIED, json!({ "room_subscriptions": rooms(100) }))
        .await
        .unwrap()
        .ok()
        .unwrap();
    let presence = format!("{SIMPLIFIED}?set_presence=asleep");
    let answer = alice.api.post(&presence, json!({})).await.unwrap();
    answer.expect_error(400, "M_INVALID_PARAM").unwrap();
    let timeout = format!("{SIMPLIFIED}?timeout=soon");
    let answer = alice.api.post(&timeout, json!({})).await.unwrap();
    answer.expect_error(400, "M_INVALID_PARAM").unwrap();
}

#[tokio::test]
async fn a_connection_belongs_to_a_device() {
    let alice = support::user("alice").await;
    let mut connection = Connection::new(&alice);
    connection.ask(all(1, &[])).await;
    let pos = connection.pos.clone().unwrap();
    let (other, second) = (support::user("other").await, alice.login().await.unwrap());
    for (user, pos) in
        [(&other, pos.as_str()), (&second, &pos), (&alice, "nonsense"), (&alice, "s1.0.0.0.0.x")]
    {
        let target = path(&format!("{SIMPLIFIED}?pos={{}}"), &[pos]);
        let answer = user.api.post(&target, json!({})).await.unwrap();
        answer.expect_error(400, "M_UNKNOWN_POS").unwrap();
    }
    let named = path(&format!("{SIMPLIFIED}?pos={{}}"), &[&pos]);
    let answer = alice.api.post(&named, json!({ "conn_id": "other" })).await.unwrap();
    answer.expect_error(400, "M_UNKNOWN_POS").unwrap();
    alice.api.post(&named, json!({})).await.unwrap().ok().unwrap();
    // Some clients name it in the body.
    alice.api.post(SIMPLIFIED, json!({ "pos": pos })).await.unwrap().ok().unwrap();
    let answer = alice.api.post(SIMPLIFIED, json!({ "pos": "nonsense" })).await.unwrap();
    answer.expect_error(400, "M_UNKNOWN_POS").unwrap();
}

#[tokio::test]
async fn lists_show_the_most_active_rooms_of_a_range() {
    let alice = support::user("alice").await;
    let mut rooms = vec![];
    for _ in 0..4 {
        rooms.push(alice.create_public_room().await.unwrap());
    }
    // State moves a room up as much as what is said.
    alice.set_state(&rooms[1], "m.room.topic", "", json!({ "topic": "up" })).await.unwrap();
    let ranged = |last: u64| {
        json!({ "lists": { "a": {
            "ranges": [[0, last]], "timeline_limit": 1, "required_state": [["m.room.create", ""]],
        } } })
    };
    let mut connection = Connection::new(&alice);
    let answer = connection.ask(ranged(1)).await;
    assert_eq!(answer["lists"]["a"]["count"], 4);
    assert_eq!(ids(&answer), sorted([&rooms[1], &rooms[3]]));
    let answer = connection.ask(ranged(2)).await;
    assert_eq!(ids(&answer), [rooms[2].clone()], "those that were sent do not come again");
    // The last room comes into sight because something happens there.
    let said = alice.say(&rooms[0], "here").await.unwrap();
    let answer = connection.ask(ranged(2)).await;
    assert_eq!(ids(&answer), [rooms[0].clone()]);
    let room = &answer["rooms"][&rooms[0]];
    assert_eq!((&room["initial"], &room["num_live"]), (&json!(true), &json!(1)));
    assert_eq!(room["timeline"][0]["event_id"], said.as_str());
    // The one that went out of sight is told from where it was left, when it is in sight again.
    alice.say(&rooms[3], "unseen").await.unwrap();
    for room in [&rooms[0], &rooms[1], &rooms[2]] {
        alice.say(room, "above").await.unwrap();
    }
    let answer = connection.ask(ranged(2)).await;
    assert_eq!(ids(&answer), sorted([&rooms[0], &rooms[1], &rooms[2]]));
    let answer = connection.ask(ranged(3)).await;
    assert_eq!(ids(&answer), [rooms[3].clone()]);
    assert_eq!(answer["rooms"][&rooms[3]]["timeline"][0]["content"]["body"], "unseen");
    assert_eq!(answer["rooms"][&rooms[3]].get("initial"), None);
    assert_eq!(answer["rooms"][&rooms[3]]["num_live"], 0);
}

fn sorted<const N: usize>(rooms: [&String; N]) -> Vec<String> {
    let mut rooms: Vec<String> = rooms.into_iter().cloned().collect();
    rooms.sort();
    rooms
}

#[tokio::test]
async fn filters_choose_rooms() {
    let (alice, bob) = (support::user("alice").await, support::user("bob").await);
    let plain = alice.create_public_room().await.unwrap();
    let encryption = json!([{ "type": "m.room.encryption", "state_key": "",
        "content": { "algorithm": "m.megolm.v1.aes-sha2" } }]);
    let secret = alice.create_room(json!({ "initial_state": encryption })).await.unwrap();
    let space = json!({ "creation_content": { "type": "m.space" } });
    let space = alice.create_room(space).await.unwrap();
    alice.set_state(&space, "m.space.child", &plain, json!({ "via": ["x"] })).await.unwrap();
    alice.set_state(&space, "m.space.child", &secret, json!({})).await.unwrap();
    let invite = bob.create_room(json!({ "invite": [alice.id] })).await.unwrap();
    let chat = json!({ "invite": [alice.id], "is_direct": true });
    let chat = bob.create_room(chat).await.unwrap();
    let put = async |kind: &str, content: Value| {
        let target = path(&format!("/_matrix/client/v3/user/{{}}/{kind}"), &[&alice.id]);
        alice.api.put(&target, content).await.unwrap().ok().unwrap();
    };
    put("account_data/m.direct", json!({ (&bob.id): [secret] })).await;
    let tag = path("rooms/{}/tags/u.work", &[&plain]);
    put(&tag, json!({ "order": 0.5 })).await;
    let named = |rooms: &[&String]| {
        let mut rooms: Vec<String> = rooms.iter().map(|room| (*room).clone()).collect();
        rooms.sort();
        rooms
    };
    for (filters, wanted) in [
        (json!({}), named(&[&plain, &secret, &space, &invite, &chat])),
        (json!({ "is_dm": true }), named(&[&secret, &chat])),
        (json!({ "is_dm": false }), named(&[&plain, &space, &invite])),
        (json!({ "is_encrypted": true }), named(&[&secret])),
        (json!({ "is_encrypted": false }), named(&[&plain, &space, &invite, &chat])),
        (json!({ "is_invite": true }), named(&[&invite, &chat])),
        (json!({ "is_invite": false }), named(&[&plain, &secret, &space])),
        (json!({ "room_types": ["m.space"] }), named(&[&space])),
        (json!({ "room_types": [null] }), named(&[&plain, &secret, &invite, &chat])),
        (json!({ "not_room_types": ["m.space"] }), named(&[&plain, &secret, &invite, &chat])),
        (json!({ "room_types": ["m.space"], "not_room_types": ["m.space"] }), vec![]),
        (json!({ "spaces": [space] }), named(&[&plain])),
        (json!({ "spaces": ["!unknown:x", invite] }), vec![]),
        (json!({ "tags": ["u.work", "u.other"] }), named(&[&plain])),
        (json!({ "tags": ["u.work"], "not_tags": ["u.work"] }), vec![]),
        (json!({ "not_tags": ["u.work"] }), named(&[&secret, &space, &invite, &chat])),
    ] {
        let body = json!({ "lists": { "a": {
            "filters": filters, "timeline_limit": 0, "required_state": [],
        } } });
        let answer = Connection::new(&alice).ask(body).await;
        assert_eq!(ids(&answer), wanted, "{filters}");
        assert_eq!(answer["lists"]["a"]["count"], wanted.len(), "{filters}");
        for (room, is_dm) in [(&invite, false), (&chat, true)] {
            if let Some(shown) = answer["rooms"].get(room) {
                assert_eq!(shown["is_dm"], is_dm, "{shown}");
            }
        }
    }
}

#[tokio::test]
async fn a_room_has_what_a_client_shows_of_it() {
    let (alice, bob) = (support::user("alice").await, support::user("bob").await);
    let room = alice.create_public_room().await.unwrap();
    let name = path("/_matrix/client/v3/profile/{}/displayname", &[&bob.id]);
    bob.api.put(&name, json!({ "displayname": "Bob" })).await.unwrap().ok().unwrap();
    bob.join(&room, &[]).await.unwrap();
    alice.set_state(&room, "m.room.avatar", "", json!({ "url": "mxc://x/y" })).await.unwrap();
    let said = bob.say(&room, "hello").await.unwrap();
    let mut connection = Connection::new(&alice);
    let wanted = &[("m.room.create", ""), ("m.room.member", "$LAZY"), ("m.room.member", "$ME")];
    let answer = connection.ask(all(2, wanted)).await;
    let shown = &answer["rooms"][&room];
    assert_eq!(shown["initial"], true);
    assert_eq!((&shown["avatar"], shown.get("name")), (&json!("mxc://x/y"), None));
    assert_eq!(shown["heroes"][0]["user_id"], bob.id.as_str());
    assert_eq!(shown["heroes"][0]["displayname"], "Bob");
    assert_eq!((&shown["joined_count"], &shown["invited_count"]), (&json!(2), &json!(0)));
    assert_eq!((&shown["notification_count"], &shown["highlight_count"]), (&json!(1), &json!(0)));
    assert_eq!(
        (&shown["limited"], &shown["num_live"], &shown["is_dm"]),
        (&json!(true), &json!(0), &json!(false))
    );
    assert_eq!(shown["timeline"][1]["event_id"], said.as_str());
    assert!(shown["bump_stamp"].is_i64() && shown["timeline"][0].get("room_id").is_none());
    let member = |user: &User| format!("m.room.member/{}", user.id);
    let mut members = vec!["m.room.create/".to_owned(), member(&alice), member(&bob)];
    members.sort();
    assert_eq!(places(shown), members);
    // What was before it is in the history, and `pos` is a place in it as well.
    let prev = shown["prev_batch"].as_str().unwrap();
    let before = messages(&alice, &room, prev).await;
    assert!(before.iter().all(|event| event["event_id"] != said.as_str()) && !before.is_empty());
    let pos = connection.pos.clone().unwrap();
    assert_eq!(messages(&alice, &room, &pos).await[0]["event_id"], said.as_str());

    alice.set_state(&room, "m.room.name", "", json!({ "name": "N" })).await.unwrap();
    let shown = connection.ask(all(2, wanted)).await["rooms"][&room].clone();
    assert_eq!(
        (&shown["name"], shown.get("heroes"), shown.get("avatar")),
        (&json!("N"), None, None)
    );
    alice.set_state(&room, "m.room.name", "", json!({})).await.unwrap();
    alice.set_state(&room, "m.room.avatar", "", json!({})).await.unwrap();
    let shown = connection.ask(all(2, wanted)).await["rooms"][&room].clone();
    assert_eq!((&shown["avatar"], shown["heroes"].as_array().unwrap().len()), (&Value::Null, 1));
    // Reading on another device makes the counts other ones.
    let receipt = path("/_matrix/client/v3/rooms/{}/receipt/m.read/{}", &[&room, &said]);
    alice.api.post(&receipt, json!({})).await.unwrap().ok().unwrap();
    let shown = connection.ask(all(2, wanted)).await["rooms"][&room].clone();
    assert_eq!(shown["notification_count"], 0);
}

async fn messages(user: &User, room: &str, from: &str) -> Vec<Value> {
    let target = path("/_matrix/client/v3/rooms/{}/messages?dir=b&from={}", &[room, from]);
    user.api.get(&target).await.unwrap().ok().unwrap()["chunk"].as_array().unwrap().clone()
}

#[tokio::test]
async fn invites_and_knocks_are_stripped_and_kicks_are_told() {
    let (alice, bob) = (support::user("alice").await, support::user("bob").await);
    let named = json!({ "name": "Secret", "invite": [bob.id] });
    let invited = alice.create_room(named).await.unwrap();
    let knock = json!({ "preset": "public_chat", "initial_state": [{ "type": "m.room.join_rules",
        "state_key": "", "content": { "join_rule": "knock" } }] });
    let knocked = alice.create_room(knock).await.unwrap();
    let target = path("/_matrix/client/v3/knock/{}", &[&knocked]);
    bob.api.post(&target, json!({})).await.unwrap().ok().unwrap();
    let mut connection = Connection::new(&bob);
    let answer = connection.ask(all(5, &[("*", "*")])).await;
    assert_eq!(ids(&answer), sorted([&invited, &knocked]));
    for room in [&invited, &knocked] {
        let shown = &answer["rooms"][room];
        assert!(shown["initial"] == true && shown.get("timeline").is_none(), "{shown}");
        assert!(shown.get("required_state").is_none() && shown["invite_state"].is_array());
    }
    let state = answer["rooms"][&invited]["invite_state"].as_array().unwrap();
    assert!(state.iter().any(|event| event["content"]["name"] == "Secret"), "{state:?}");

    bob.join(&invited, &[]).await.unwrap();
    let shown = connection.ask(all(5, &[("*", "*")])).await["rooms"][&invited].clone();
    assert!(shown["initial"] == true && shown.get("invite_state").is_none(), "{shown}");
    alice.kick(&invited, &bob.id).await.unwrap();
    alice.say(&invited, "he is gone").await.unwrap();
    let shown = connection.ask(all(5, &[("*", "*")])).await["rooms"][&invited].clone();
    assert_eq!(shown["timeline"].as_array().unwrap().len(), 1, "{shown}");
    assert_eq!(shown["timeline"][0]["content"]["membership"], "leave");
    let mut fresh = Connection::new(&bob);
    let answer = fresh.ask(all(5, &[("*", "*")])).await;
    assert!(ids(&answer).contains(&invited), "a new client is told too");
    assert!(!answer.to_string().contains("he is gone"));
}

#[tokio::test]
async fn a_long_poll_wakes_for_a_message_and_for_an_invite() {
    let (alice, bob) = (support::user("alice").await, support::user("bob").await);
    let room = alice.create_public_room().await.unwrap();
    bob.join(&room, &[]).await.unwrap();
    let mut connection = Connection::new(&bob);
    connection.ask(all(5, &[])).await;
    let minute = Duration::from_secs(60);
    let (answer, sent) =
        tokio::join!(connection.wait(all(5, &[]), minute), alice.say(&room, "wake up"));
    assert_eq!(answer["rooms"][&room]["timeline"][0]["event_id"], sent.unwrap().as_str());
    let invite = alice.create_room(json!({ "invite": [bob.id] }));
    let (answer, invited) = tokio::join!(connection.wait(all(5, &[]), minute), invite);
    assert_eq!(ids(&answer), [invited.unwrap()]);
}

#[tokio::test]
async fn a_connection_survives_a_restart() {
    let server = support::start(support::spec()).await;
    let alice = User::register(&server, "alice").await.unwrap();
    let room = alice.create_public_room().await.unwrap();
    let mut connection = Connection::new(&alice);
    connection.ask(all(5, &[("m.room.create", "")])).await;
    let said = alice.say(&room, "before").await.unwrap();
    server.stop().unwrap();
    server.resume().await.unwrap();
    let answer = connection.ask(all(5, &[("m.room.create", "")])).await;
    let shown = &answer["rooms"][&room];
    assert!(shown.get("initial").is_none() && places(shown).is_empty(), "{shown}");
    assert_eq!(shown["timeline"][0]["event_id"], said.as_str());
}

/// What one client is shown is what the other is: /sync tells of the same events.
#[tokio::test]
async fn it_tells_what_sync_tells() {
    let (alice, bob) = (support::user("alice").await, support::user("bob").await);
    let room = alice.create_public_room().await.unwrap();
    alice.say(&room, "before").await.unwrap();
    bob.join(&room, &[]).await.unwrap();
    let mut sync = Sync::start(&bob).await.unwrap();
    let mut connection = Connection::new(&bob);
    let mut seen =
        connection.ask(all(50, &[])).await["rooms"][&room]["timeline"].as_array().unwrap().clone();
    let mut last = String::new();
    for number in 0..5 {
        last = alice.say(&room, &number.to_string()).await.unwrap();
        let answer = connection.ask(all(50, &[])).await;
        seen.extend(answer["rooms"][&room]["timeline"].as_array().unwrap().iter().cloned());
    }
    sync.event_with_id(&room, &last).await.unwrap();
    let events = |events: &[Value]| -> Vec<String> {
        events.iter().map(|event| event["event_id"].as_str().unwrap().to_owned()).collect()
    };
    let shown = sync.timeline(&room);
    assert!(events(&seen).ends_with(&events(&shown[shown.len() - 5..])));
}
