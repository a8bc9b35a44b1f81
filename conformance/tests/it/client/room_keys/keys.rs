//! DELETE /_matrix/client/v3/room_keys/keys
//! GET /_matrix/client/v3/room_keys/keys
//! PUT /_matrix/client/v3/room_keys/keys
//! DELETE /_matrix/client/v3/room_keys/keys/{roomId}
//! GET /_matrix/client/v3/room_keys/keys/{roomId}
//! PUT /_matrix/client/v3/room_keys/keys/{roomId}
//! DELETE /_matrix/client/v3/room_keys/keys/{roomId}/{sessionId}
//! GET /_matrix/client/v3/room_keys/keys/{roomId}/{sessionId}
//! PUT /_matrix/client/v3/room_keys/keys/{roomId}/{sessionId}

use serde_json::{Map, Value, json};
use starling_conformance::client::{User, path};

use super::{VERSION, create, session};
use crate::support;

const KEYS: &str = "/_matrix/client/v3/room_keys/keys";
const ROOM: &str = "!room:example.org";

fn all(version: &str) -> String {
    path("/_matrix/client/v3/room_keys/keys?version={}", &[version])
}

fn room(version: &str, room: &str) -> String {
    path("/_matrix/client/v3/room_keys/keys/{}?version={}", &[room, version])
}

fn one(version: &str, room: &str, session: &str) -> String {
    path("/_matrix/client/v3/room_keys/keys/{}/{}?version={}", &[room, session, version])
}

async fn put(user: &User, target: &str, body: Value) -> (i64, String) {
    let answer = user.api.put(target, body).await.unwrap().ok().unwrap();
    (answer["count"].as_i64().unwrap(), answer["etag"].as_str().unwrap().to_owned())
}

async fn get(user: &User, target: &str) -> Value {
    user.api.get(target).await.unwrap().ok().unwrap()
}

#[tokio::test]
async fn sessions_are_put_read_and_removed_one_by_one_by_room_and_all_together() {
    let alice = support::user("alice").await;
    let version = &create(&alice, 1).await;
    let (a, b, c) = (session(true, 1, 0), session(false, 2, 3), session(false, 0, 0));
    let (count, first) = put(&alice, &one(version, ROOM, "a/1"), a.clone()).await;
    assert_eq!(count, 1);
    let sessions = json!({ "sessions": { "b": b, "c": c } });
    let (count, second) = put(&alice, &room(version, ROOM), sessions.clone()).await;
    assert_eq!(count, 3);
    assert_ne!(first, second);
    let rooms = json!({ "rooms": { "!other:x": { "sessions": { "\"d\"": a } }, ROOM: sessions } });
    let (count, third) = put(&alice, &all(version), rooms.clone()).await;
    assert_eq!(count, 4);
    assert_ne!(second, third);
    assert_eq!(put(&alice, &all(version), rooms).await, (4, third.clone()), "nothing changed");

    assert_eq!(get(&alice, &one(version, ROOM, "a/1")).await, a);
    let in_room = json!({ "sessions": { "a/1": a, "b": b, "c": c } });
    assert_eq!(get(&alice, &room(version, ROOM)).await, in_room);
    let other = json!({ "sessions": { "\"d\"": a } });
    let everything = json!({ "rooms": { ROOM: in_room, "!other:x": other } });
    assert_eq!(get(&alice, &all(version)).await, everything);
    let newest = get(&alice, VERSION).await;
    assert_eq!((&newest["count"], &newest["etag"]), (&json!(4), &json!(third)));

    let delete = async |target: String| {
        let answer = alice.api.delete(&target).await.unwrap().ok().unwrap();
        answer["count"].as_i64().unwrap()
    };
    assert_eq!(delete(one(version, ROOM, "a/1")).await, 3);
    assert_eq!(delete(one(version, ROOM, "a/1")).await, 3);
    let answer = alice.api.get(&one(version, ROOM, "a/1")).await.unwrap();
    answer.expect_error(404, "M_NOT_FOUND").unwrap();
    assert_eq!(delete(room(version, ROOM)).await, 1);
    assert_eq!(get(&alice, &room(version, ROOM)).await, json!({ "sessions": {} }));
    assert_eq!(delete(all(version)).await, 0);
    assert_eq!(get(&alice, &all(version)).await, json!({ "rooms": {} }));
    assert_ne!(get(&alice, VERSION).await["etag"], json!(third));
}

#[tokio::test]
async fn of_two_keys_the_better_stays() {
    let alice = support::user("alice").await;
    let version = &create(&alice, 1).await;
    let target = one(version, ROOM, "a");
    let kept = async |new: Value| {
        put(&alice, &target, new).await;
        get(&alice, &target).await
    };
    let mut best = session(false, 10, 5);
    assert_eq!(kept(best.clone()).await, best);
    for worse in [session(false, 11, 0), session(false, 10, 5), session(false, 10, 6)] {
        assert_eq!(kept(worse).await, best);
    }
    for better in [session(false, 10, 4), session(false, 9, 9), session(true, 20, 20)] {
        best = better;
        assert_eq!(kept(best.clone()).await, best);
    }
    assert_eq!(kept(session(false, 0, 0)).await, best);
}

#[tokio::test]
async fn only_the_newest_backup_takes_sessions() {
    let alice = support::user("alice").await;
    let body = session(true, 1, 1);
    let sessions = json!({ "sessions": { "a": body } });
    let puts = |version: &str| {
        let rooms = json!({ "rooms": { ROOM: sessions } });
        [
            (all(version), rooms),
            (room(version, ROOM), sessions.clone()),
            (one(version, ROOM, "a"), body.clone()),
        ]
    };
    for (target, body) in puts("1") {
        let answer = alice.api.put(&target, body).await.unwrap();
        answer.expect_error(404, "M_NOT_FOUND").unwrap();
    }
    let old = create(&alice, 1).await;
    put(&alice, &one(&old, ROOM, "a"), body.clone()).await;
    let new = create(&alice, 2).await;
    for wrong in [old.as_str(), "77", "x"] {
        for (target, body) in puts(wrong) {
            let answer = alice.api.put(&target, body).await.unwrap();
            let refused = answer.expect_error(403, "M_WRONG_ROOM_KEYS_VERSION").unwrap();
            assert_eq!(refused["current_version"], new.as_str());
        }
    }
    assert_eq!(get(&alice, &one(&old, ROOM, "a")).await, body, "old ones are still read");
    let answer = alice.api.get(&one("77", ROOM, "a")).await.unwrap();
    answer.expect_error(404, "M_NOT_FOUND").unwrap();
    for target in [all("77"), room("77", ROOM), one("77", ROOM, "a")] {
        let answer = alice.api.delete(&target).await.unwrap();
        answer.expect_error(404, "M_NOT_FOUND").unwrap();
        let answer = alice.api.get(&target).await.unwrap();
        answer.expect_error(404, "M_NOT_FOUND").unwrap();
    }
}

#[tokio::test]
async fn what_is_no_session_is_refused() {
    let alice = support::user("alice").await;
    let version = &create(&alice, 1).await;
    let mut wrong = session(true, 1, 1);
    wrong["first_message_index"] = json!(-1);
    let answer = alice.api.put(&one(version, ROOM, "a"), wrong).await.unwrap();
    answer.expect_error(400, "M_BAD_JSON").unwrap();
    let mut wrong = session(true, 1, 1);
    wrong["session_data"] = json!("text");
    let answer = alice.api.put(&one(version, ROOM, "a"), wrong).await.unwrap();
    answer.expect_error(400, "M_BAD_JSON").unwrap();
    let mut large = session(true, 1, 1);
    large["session_data"] = json!({ "x": "x".repeat(70_000) });
    let answer = alice.api.put(&one(version, ROOM, "a"), large).await.unwrap();
    answer.expect_error(413, "M_TOO_LARGE").unwrap();
    let long = one(version, &"x".repeat(256), "a");
    let answer = alice.api.put(&long, session(true, 1, 1)).await.unwrap();
    answer.expect_error(400, "M_BAD_JSON").unwrap();
    for answer in [
        alice.api.put(KEYS, json!({ "rooms": {} })).await.unwrap(),
        alice.api.get(KEYS).await.unwrap(),
        alice.api.delete(KEYS).await.unwrap(),
        alice.api.put(&all(version), json!({})).await.unwrap(),
    ] {
        answer.expect_error(400, "M_MISSING_PARAM").unwrap();
    }
    let anonymous = support::anonymous().await;
    for answer in [
        anonymous.put(KEYS, json!({ "rooms": {} })).await.unwrap(),
        anonymous.get(KEYS).await.unwrap(),
        anonymous.delete(KEYS).await.unwrap(),
    ] {
        answer.expect_error(401, "M_MISSING_TOKEN").unwrap();
    }
}

/// More than is read from the database at a time.
#[tokio::test]
async fn a_large_backup_comes_whole() {
    let alice = support::user("alice").await;
    let version = &create(&alice, 1).await;
    let mut rooms = Map::new();
    for number in 0..3 {
        let sessions = (0..400).map(|session_id| {
            (format!("session {session_id:04}"), session(true, session_id, number))
        });
        let sessions: Map<String, Value> = sessions.collect();
        rooms.insert(format!("!{number}:example.org"), json!({ "sessions": sessions }));
    }
    let rooms = json!({ "rooms": rooms });
    assert_eq!(put(&alice, &all(version), rooms.clone()).await.0, 1_200);
    assert_eq!(get(&alice, &all(version)).await, rooms);
}
