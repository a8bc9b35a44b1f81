//! GET /_synapse/admin/v1/rooms
//! and what else there is to look at in rooms, and to do for their members.

use std::sync::Arc;

use serde_json::{Value, json};
use starling_conformance::{
    client::{User, path},
    evil::Reply,
};
use tokio::sync::Notify;

use super::at;
use crate::support;

async fn get(admin: &User, target: String) -> Value {
    admin.api.get(&target).await.unwrap().ok().unwrap()
}

fn ids(list: &Value) -> Vec<&str> {
    let rooms = list["rooms"].as_array().unwrap();
    rooms.iter().map(|room| room["room_id"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn rooms_are_listed_searched_sorted_and_paged() {
    let admin = support::admin().await;
    let (alice, bob) = (support::user("alice").await, support::user("bob").await);
    let mark = alice.id.clone();
    let named = async |name: &str, options: Value| {
        let mut body = options;
        body["name"] = json!(format!("{name} {mark}"));
        alice.create_room(body).await.unwrap()
    };
    let open = named("B open", json!({ "preset": "public_chat", "visibility": "public" })).await;
    let space = json!({ "creation_content": { "type": "m.space", "m.federate": false } });
    let space = named("a space", space).await;
    bob.join(&open, &[]).await.unwrap();

    let list = async |query: &str| -> Value {
        let target = path("/_synapse/admin/v1/rooms?search_term={}", &[&mark]);
        admin.api.get(&format!("{target}&{query}")).await.unwrap().ok().unwrap()
    };
    let all = list("").await;
    assert_eq!(ids(&all), [&space, &open]);
    assert_eq!((&all["total_rooms"], &all["offset"]), (&json!(2), &json!(0)));
    let room = &all["rooms"][1];
    assert_eq!((&room["joined_members"], &room["joined_local_members"]), (&json!(2), &json!(2)));
    assert_eq!((&room["public"], &room["federatable"]), (&json!(true), &json!(true)));
    assert_eq!((&room["creator"], &room["join_rules"]), (&json!(alice.id), &json!("public")));
    assert_eq!(room["encryption"], Value::Null);
    assert!(room["state_events"].as_i64().unwrap() > 5, "{room}");
    assert_eq!(all["rooms"][0]["room_type"], "m.space");
    assert_eq!(all["rooms"][0]["federatable"], false);
    assert_eq!(ids(&list("dir=b").await), [&open, &space]);
    assert_eq!(ids(&list("order_by=joined_members").await), [&open, &space]);
    assert_eq!(ids(&list("order_by=joined_local_members&dir=b").await), [&space, &open]);
    assert_eq!(ids(&list("public_rooms=true").await), [&open]);
    assert_eq!(ids(&list("empty_rooms=true").await), [""; 0]);
    let first = list("limit=1").await;
    assert_eq!((ids(&first), &first["next_batch"]), (vec![&*space], &json!(1)));
    let second = list("limit=1&from=1").await;
    assert_eq!((ids(&second), &second["prev_batch"]), (vec![&*open], &json!(0)));
    assert!(second.get("next_batch").is_none());
    let answer = admin.api.get("/_synapse/admin/v1/rooms?order_by=colour").await.unwrap();
    answer.expect_error(400, "M_INVALID_PARAM").unwrap();
}

#[tokio::test]
async fn an_administrator_looks_into_a_private_room() {
    let admin = support::admin().await;
    let alice = support::user("alice").await;
    let room = alice.create_room(json!({ "preset": "private_chat", "topic": "T" })).await.unwrap();
    let secret = alice.say(&room, "secret").await.unwrap();
    let details = get(&admin, at("/v1/rooms/{}", &[&room])).await;
    assert_eq!((&details["topic"], &details["avatar"]), (&json!("T"), &Value::Null));
    assert_eq!(
        (&details["joined_local_devices"], &details["forgotten"]),
        (&json!(1), &json!(false))
    );
    let members = get(&admin, at("/v1/rooms/{}/members", &[&room])).await;
    assert_eq!(members, json!({ "members": [alice.id], "total": 1 }));
    let state = get(&admin, at("/v1/rooms/{}/state", &[&room])).await;
    let kinds: Vec<_> = state["state"].as_array().unwrap().iter().map(|e| &e["type"]).collect();
    assert!(kinds.contains(&&json!("m.room.create")) && kinds.contains(&&json!("m.room.topic")));
    let page = get(&admin, at("/v1/rooms/{}/messages?dir=b&limit=1", &[&room])).await;
    assert_eq!(page["chunk"][0]["content"]["body"], "secret");
    let context = get(&admin, at("/v1/rooms/{}/context/{}", &[&room, &secret])).await;
    assert_eq!(context["event"]["event_id"], *secret);
    assert!(!context["events_before"].as_array().unwrap().is_empty());
    let moment = get(&admin, at("/v1/rooms/{}/timestamp_to_event?ts=0", &[&room])).await;
    assert!(moment["event_id"].is_string());
    let ends = get(&admin, at("/v1/rooms/{}/forward_extremities", &[&room])).await;
    assert_eq!((&ends["count"], &ends["results"][0]["event_id"]), (&json!(1), &json!(secret)));

    for what in [
        "",
        "/members",
        "/state",
        "/messages",
        "/context/$x",
        "/timestamp_to_event?ts=0",
        "/forward_extremities",
    ] {
        let target = format!("{}{what}", at("/v1/rooms/{}", &["!nowhere:example.org"]));
        admin.api.get(&target).await.unwrap().expect_error(404, "M_NOT_FOUND").unwrap();
    }
}

#[tokio::test]
async fn users_are_joined_and_given_power() {
    let admin = support::admin().await;
    let (alice, bob) = (support::user("alice").await, support::user("bob").await);
    let room = alice.create_room(json!({ "preset": "private_chat" })).await.unwrap();
    let join = at("/v1/join/{}", &[&room]);
    let body = json!({ "user_id": bob.id });
    // Nobody lets them in.
    let answer = admin.api.post(&join, body.clone()).await.unwrap();
    answer.expect_error(403, "M_FORBIDDEN").unwrap();
    let make = at("/v1/rooms/{}/make_room_admin", &[&room]);
    admin.api.post(&make, json!({})).await.unwrap().ok().unwrap();
    // That invited the administrator, who can let others in now.
    admin.join(&room, &[]).await.unwrap();
    let answer = admin.api.post(&join, body).await.unwrap().ok().unwrap();
    assert_eq!(answer, json!({ "room_id": room }));
    let member = alice.state(&room, "m.room.member", &bob.id).await.unwrap().ok().unwrap();
    assert_eq!(member["membership"], "join");
    let levels = alice.state(&room, "m.room.power_levels", "").await.unwrap().ok().unwrap();
    assert_eq!(levels["users"][&admin.id], 100);
    admin.api.post(&make, json!({ "user_id": bob.id })).await.unwrap().ok().unwrap();
    let levels = alice.state(&room, "m.room.power_levels", "").await.unwrap().ok().unwrap();
    assert_eq!(levels["users"][&bob.id], 100);

    let stranger = json!({ "user_id": "@stranger:elsewhere.example.org" });
    let answer = admin.api.post(&join, stranger).await.unwrap();
    answer.expect_error(400, "M_INVALID_PARAM").unwrap();
    let nowhere = at("/v1/rooms/{}/make_room_admin", &["!nowhere:example.org"]);
    admin.api.post(&nowhere, json!({})).await.unwrap().expect_error(404, "M_NOT_FOUND").unwrap();
    for user in [&alice, &bob, &admin] {
        user.leave(&room).await.unwrap();
    }
    admin.api.post(&make, json!({})).await.unwrap().expect_error(400, "M_UNKNOWN").unwrap();
}

#[tokio::test]
async fn nobody_gets_into_a_blocked_room() {
    let admin = support::admin().await;
    let (alice, bob) = (support::user("alice").await, support::user("bob").await);
    let room = alice.create_public_room().await.unwrap();
    let block = at("/v1/rooms/{}/block", &[&room]);
    assert_eq!(get(&admin, block.clone()).await, json!({ "block": false }));
    let on = json!({ "block": true });
    assert_eq!(admin.api.put(&block, on.clone()).await.unwrap().ok().unwrap(), on);
    assert_eq!(get(&admin, block.clone()).await, json!({ "block": true, "user_id": admin.id }));
    bob.try_join(&room, &[]).await.unwrap().expect_error(403, "M_FORBIDDEN").unwrap();
    let invite = path("/_matrix/client/v3/rooms/{}/invite", &[&room]);
    let answer = alice.api.post(&invite, json!({ "user_id": bob.id })).await.unwrap();
    answer.expect_error(403, "M_FORBIDDEN").unwrap();
    admin.api.put(&block, json!({ "block": false })).await.unwrap().ok().unwrap();
    bob.join(&room, &[]).await.unwrap();
    let answer = admin.api.put(&block, json!({})).await.unwrap();
    answer.expect_error(400, "M_MISSING_PARAM").unwrap();
}

#[tokio::test]
async fn a_room_that_is_blocked_while_another_server_helps_is_not_entered() {
    let (server, admin) = (support::server().await, support::admin().await);
    let (peer, alice) = (support::peer().await, support::user("alice").await);
    let room = peer.create_room("11", &peer.user("mallory")).unwrap();
    let event = room.member(&alice.id, &alice.id, "join").unwrap();
    let (sign, reply) = (Arc::new(Notify::new()), json!({ "room_version": "11", "event": event }));
    peer.answer("make_join", Reply::OnSign(sign.clone(), Box::new(Reply::ok(reply))));
    let blocked = async {
        let asked = |piece: &String| piece == "make_join";
        peer.received("make_join", |it| it.pieces.iter().any(asked)).await.unwrap();
        let block = at("/v1/rooms/{}/block", &[&room.id]);
        admin.api.put(&block, json!({ "block": true })).await.unwrap().ok().unwrap();
        sign.notify_one();
    };
    let via = [&*peer.name];
    let (answer, ()) = tokio::join!(alice.try_join(&room.id, &via), blocked);
    answer.unwrap().expect_error(403, "M_FORBIDDEN").unwrap();
    let joined = get(&alice, "/_matrix/client/v3/joined_rooms".to_owned()).await;
    assert_eq!(joined["joined_rooms"], json!([]));
    crate::scene::assert_others_are_served(server).await;
}
