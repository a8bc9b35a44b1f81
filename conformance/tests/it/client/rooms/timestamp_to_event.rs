//! GET /_matrix/client/v1/rooms/{roomId}/timestamp_to_event

use serde_json::json;
use starling_conformance::{
    client::{Answer, Sync, User, path},
    evil::Reply,
};

use crate::{scene::Scene, support};

async fn closest(user: &User, room: &str, query: &str) -> Answer {
    let target = path("/_matrix/client/v1/rooms/{}/timestamp_to_event", &[room]);
    user.api.get(&format!("{target}?{query}")).await.unwrap()
}

async fn time_of(user: &User, room: &str, event: &str) -> i64 {
    let event = user.event(room, event).await.unwrap().ok().unwrap();
    event["origin_server_ts"].as_i64().unwrap()
}

/// Says something that is younger than anything that was said before.
async fn say_later(user: &User, room: &str) -> (String, i64) {
    let first = user.say(room, "x").await.unwrap();
    let before = time_of(user, room, &first).await;
    loop {
        let event = user.say(room, "later").await.unwrap();
        let time = time_of(user, room, &event).await;
        if time > before {
            return (event, time);
        }
    }
}

#[tokio::test]
async fn the_closest_event_is_found_in_both_directions() {
    let alice = support::user("alice").await;
    let room = alice.create_public_room().await.unwrap();
    let (first, first_time) = say_later(&alice, &room).await;
    let (last, last_time) = say_later(&alice, &room).await;
    for (query, event, time) in [
        (format!("dir=f&ts={first_time}"), &first, first_time),
        (format!("dir=b&ts={last_time}"), &last, last_time),
        (format!("dir=b&ts={}", last_time + 1_000_000), &last, last_time),
    ] {
        let found = closest(&alice, &room, &query).await.ok().unwrap();
        assert_eq!(found, json!({ "event_id": event, "origin_server_ts": time }), "{query}");
    }
    let found = closest(&alice, &room, "dir=f&ts=0").await.ok().unwrap();
    let event = alice.event(&room, found["event_id"].as_str().unwrap()).await.unwrap();
    assert_eq!(event.ok().unwrap()["type"], "m.room.create");
}

#[tokio::test]
async fn there_may_be_none() {
    let alice = support::user("alice").await;
    let room = alice.create_public_room().await.unwrap();
    for query in ["dir=b&ts=0", "dir=b&ts=-5", "dir=f&ts=9007199254740991"] {
        let answer = closest(&alice, &room, query).await;
        answer.expect_error(404, "M_NOT_FOUND").unwrap();
    }
}

#[tokio::test]
async fn who_may_not_read_the_room_is_refused() {
    let alice = support::user("alice").await;
    let stranger = support::user("stranger").await;
    let room = alice.create_public_room().await.unwrap();
    for (user, room) in [(&stranger, room.as_str()), (&alice, "!nowhere:example.org")] {
        let answer = closest(user, room, "dir=f&ts=0").await;
        answer.expect_error(403, "M_FORBIDDEN").unwrap();
    }
    let target = path("/_matrix/client/v1/rooms/{}/timestamp_to_event?dir=f&ts=0", &[&room]);
    let answer = support::anonymous().await.get(&target).await.unwrap();
    answer.expect_error(401, "M_MISSING_TOKEN").unwrap();
}

#[tokio::test]
async fn what_is_no_request_is_refused() {
    let alice = support::user("alice").await;
    let room = alice.create_public_room().await.unwrap();
    for query in ["dir=x&ts=0", "dir=f&ts=now"] {
        closest(&alice, &room, query).await.expect_error(400, "M_INVALID_PARAM").unwrap();
    }
    for query in ["dir=f", "ts=0"] {
        closest(&alice, &room, query).await.expect_error(400, "M_MISSING_PARAM").unwrap();
    }
}

#[tokio::test]
async fn other_servers_are_asked_for_history_that_is_missing_here() {
    let (here, there) = support::pair().await;
    let alice = User::register(here, "alice").await.unwrap();
    let bob = User::register(there, "bob").await.unwrap();
    let room = alice.create_public_room().await.unwrap();
    say_later(&alice, &room).await;
    let (early, early_time) = say_later(&alice, &room).await;
    say_later(&alice, &room).await;
    bob.join(&room, &[here.name()]).await.unwrap();
    let mut sync = Sync::start(&bob).await.unwrap();
    sync.membership(&room, &bob.id, "join").await.unwrap();
    let wanted = json!({ "event_id": early, "origin_server_ts": early_time });
    for direction in ["f", "b"] {
        let query = format!("dir={direction}&ts={early_time}");
        assert_eq!(closest(&bob, &room, &query).await.ok().unwrap(), wanted, "{direction}");
    }
    let context = path("/_matrix/client/v3/rooms/{}/context/{}", &[&room, &early]);
    let context = bob.api.get(&context).await.unwrap().ok().unwrap();
    assert_eq!(context["event"]["event_id"], early);
}

#[tokio::test]
async fn a_lie_about_the_closest_event_changes_nothing() {
    let mut scene = Scene::set_by_peer("11").await;
    let said = scene.say("hello").await;
    let room = scene.room.id.clone();
    let time = said.pdu["origin_server_ts"].as_i64().unwrap();
    for lie in [
        json!({ "event_id": "$nowhere", "origin_server_ts": time - 1 }),
        json!({ "event_id": said.id, "origin_server_ts": 1 }),
        json!({ "event_id": said.id, "origin_server_ts": "soon" }),
        json!([]),
    ] {
        scene.peer.answer("timestamp_to_event", Reply::ok(lie));
        let answer = closest(&scene.alice, &room, "dir=b&ts=1").await;
        answer.expect_error(404, "M_NOT_FOUND").unwrap();
    }
    let found = closest(&scene.alice, &room, &format!("dir=b&ts={}", time + 5)).await;
    assert_eq!(found.ok().unwrap()["event_id"], said.id.as_str());
    scene.goes_on_without(&[]).await;
}
