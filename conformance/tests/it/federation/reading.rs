//! GET /_matrix/federation/v1/{event,state,state_ids,event_auth,backfill}, POST get_missing_events:
//! each gives events of the room that was named, to servers that may see them, and no others.

use http::Method;
use serde_json::{Value, json};
use starling_conformance::{
    client::{Answer, PASSWORD, path},
    evil::Peer,
};

use crate::{scene::Scene, support};

/// Asks each of the endpoints about an event of a room.
pub(crate) async fn ask_all(
    scene: &Scene,
    peer: &Peer,
    room: &str,
    event: &str,
) -> Vec<(&'static str, Answer)> {
    let get = |name: &'static str, template: &str, ids: &[&str]| {
        (name, Method::GET, path(template, ids), None)
    };
    let missing = json!({ "earliest_events": [], "latest_events": [event], "limit": 50 });
    let requests = [
        get("event", "/_matrix/federation/v1/event/{}", &[event]),
        get("state", "/_matrix/federation/v1/state/{}?event_id={}", &[room, event]),
        get("state_ids", "/_matrix/federation/v1/state_ids/{}?event_id={}", &[room, event]),
        get("event_auth", "/_matrix/federation/v1/event_auth/{}/{}", &[room, event]),
        get("backfill", "/_matrix/federation/v1/backfill/{}?limit=50&v={}", &[room, event]),
        (
            "get_missing_events",
            Method::POST,
            path("/_matrix/federation/v1/get_missing_events/{}", &[room]),
            Some(missing),
        ),
    ];
    let mut answers = Vec::new();
    for (name, method, target, body) in requests {
        let answer = peer.request(scene.server, method, &target, body.as_ref()).await.unwrap();
        answers.push((name, answer));
    }
    answers
}

#[tokio::test]
async fn a_server_that_is_not_in_the_room_gets_nothing() {
    let mut scene = Scene::set("12").await;
    let said = scene.say("among us").await.id;
    let stranger = support::peer().await;
    for (name, answer) in ask_all(&scene, &stranger, &scene.room.id, &said).await {
        assert!(!answer.body.to_string().contains("among us"), "{name}: {answer:?}");
        // Which room an event is in, the path of `/event` does not say: there is none for a stranger.
        match name {
            "event" => answer.expect_error(404, "M_NOT_FOUND").unwrap(),
            _ => answer.expect_error(403, "M_FORBIDDEN").unwrap(),
        };
    }
    for (name, answer) in ask_all(&scene, &scene.peer, &scene.room.id, &said).await {
        answer.expect_status(200).unwrap_or_else(|error| panic!("{name}: {error:#}"));
    }
    let nothing = path("/_matrix/federation/v1/state_ids/{}?event_id={}", &[&scene.room.id, "$no"]);
    let answer = scene.peer.get(scene.server, &nothing).await.unwrap();
    answer.expect_error(404, "M_NOT_FOUND").unwrap();
    scene.goes_on_without(&[]).await;
}

/// The peer is in both rooms' neighbourhood only by name: an event of a room that it is not in is
/// asked for by way of one that it is in.
#[tokio::test]
async fn an_event_of_another_room_is_not_given_through_this_one() {
    let mut scene = Scene::set("12").await;
    let other = scene.alice.create_room(json!({ "preset": "private_chat" })).await.unwrap();
    let secret = scene.alice.say(&other, "secret").await.unwrap();
    let name = json!({ "name": "secret" });
    let state = scene.alice.set_state(&other, "m.room.name", "", name).await.unwrap();
    for event in [&secret, &state] {
        for (name, answer) in ask_all(&scene, &scene.peer, &scene.room.id, event).await {
            let text = answer.body.to_string();
            assert!(!text.contains("secret") && !text.contains(&other), "{name}: {answer:?}");
            let empty = answer.body["events"] == json!([]) || answer.body["pdus"] == json!([]);
            assert!(matches!(answer.status, 403 | 404) || empty, "{name}: {answer:?}");
        }
    }
    scene.goes_on_without(&[]).await;
}

#[tokio::test]
async fn what_was_said_before_a_server_came_is_hidden_from_it() {
    let visibility = json!({
        "type": "m.room.history_visibility",
        "content": { "history_visibility": "joined" },
    });
    let server = support::server().await;
    let (peer, alice) = (support::peer().await, support::user("alice").await);
    let options = json!({ "preset": "public_chat", "initial_state": [visibility] });
    let id = alice.create_room(options).await.unwrap();
    let secret = alice.say(&id, "for those who were here").await.unwrap();
    let mallory = peer.user("mallory");
    let room = peer.join(server, &id, &mallory).await.unwrap();
    let sync = starling_conformance::client::Sync::start(&alice).await.unwrap();
    let mut scene = Scene { server, alice, sync, peer, mallory, room };
    let join = scene.room.state_id("m.room.member", &scene.mallory).unwrap();
    for event in [&secret, &join] {
        for (name, answer) in ask_all(&scene, &scene.peer, &id, event).await {
            let text = answer.body.to_string();
            assert!(!text.contains("for those who were here"), "{name}: {answer:?}");
            assert!(answer.status < 500, "{name}: {answer:?}");
        }
    }
    scene.goes_on_without(&[]).await;
}

#[tokio::test]
async fn odd_questions_are_refused() {
    let mut scene = Scene::set("12").await;
    let room = scene.room.id.clone();
    let said = scene.say("a message").await.id;
    for (template, ids) in [
        ("/_matrix/federation/v1/event/{}", vec!["no event"]),
        ("/_matrix/federation/v1/event/{}", vec!["$"]),
        ("/_matrix/federation/v1/state/{}", vec![room.as_str()]),
        ("/_matrix/federation/v1/state/{}?event_id={}", vec![&room, "no event"]),
        ("/_matrix/federation/v1/state_ids/{}?event_id={}", vec!["no room", &said]),
        ("/_matrix/federation/v1/state_ids/{}?event_id={}", vec![&room, "$unknown"]),
        ("/_matrix/federation/v1/event_auth/{}/{}", vec![&room, "$unknown"]),
        ("/_matrix/federation/v1/backfill/{}?limit=-1&v={}", vec![&room, &said]),
        ("/_matrix/federation/v1/backfill/{}?limit=x&v={}", vec![&room, &said]),
        ("/_matrix/federation/v1/backfill/{}?v={}", vec![&room, "no event"]),
    ] {
        let target = path(template, &ids);
        let answer = scene.peer.get(scene.server, &target).await.unwrap();
        assert!((400..500).contains(&answer.status), "{target}: {answer:?}");
    }
    for (name, body) in [
        ("no ids", json!({})),
        ("numbers", json!({ "earliest_events": [1], "latest_events": [2] })),
        ("text", json!({ "earliest_events": "x", "latest_events": "y" })),
        (
            "a negative limit",
            json!({ "earliest_events": [], "latest_events": [said], "limit": -5 }),
        ),
        ("a fraction", json!({ "earliest_events": [], "latest_events": [said], "limit": 1.5 })),
    ] {
        let target = path("/_matrix/federation/v1/get_missing_events/{}", &[&room]);
        let answer = scene.peer.post(scene.server, &target, &body).await.unwrap();
        assert!((400..500).contains(&answer.status), "{name}: {answer:?}");
    }
    // However much is asked for, what is given is bounded.
    let body = json!({ "earliest_events": [], "latest_events": [said], "limit": 9_007_199_254_740_991_i64 });
    let target = path("/_matrix/federation/v1/get_missing_events/{}", &[&room]);
    let answer = scene.peer.post(scene.server, &target, &body).await.unwrap().ok().unwrap();
    assert!(answer["events"].as_array().is_some_and(|events| events.len() <= 100));
    let many: Vec<String> = (0..300).map(|index| format!("&v=$unknown{index}")).collect();
    let target =
        path("/_matrix/federation/v1/backfill/{}?limit=999999999", &[&room]) + &many.concat();
    let answer = scene.peer.get(scene.server, &target).await.unwrap();
    assert!(answer.status < 500, "{answer:?}");
    scene.goes_on_without(&[]).await;
}

/// A query that the endpoint does not know, and one whose domain is not served here.
#[tokio::test]
async fn queries_are_answered_for_own_users_only() {
    let scene = Scene::set("12").await;
    let foreign = "/_matrix/federation/v1/query/profile?user_id=%40carol%3Aelsewhere.example";
    for target in [
        "/_matrix/federation/v1/query/profile".to_owned(),
        "/_matrix/federation/v1/query/profile?user_id=nobody".to_owned(),
        foreign.to_owned(),
        path("/_matrix/federation/v1/query/profile?user_id={}", &[&scene.mallory]),
        "/_matrix/federation/v1/query/directory".to_owned(),
        "/_matrix/federation/v1/query/directory?room_alias=none".to_owned(),
        "/_matrix/federation/v1/query/directory?room_alias=%23a%3Aelsewhere.example".to_owned(),
        "/_matrix/federation/v1/query/unknown".to_owned(),
    ] {
        let answer = scene.peer.get(scene.server, &target).await.unwrap();
        assert!((400..500).contains(&answer.status), "{target}: {answer:?}");
    }
    let target = path("/_matrix/federation/v1/query/profile?user_id={}", &[&scene.alice.id]);
    let profile: Value = scene.peer.get(scene.server, &target).await.unwrap().ok().unwrap();
    assert!(profile.is_object());
}

#[tokio::test]
async fn what_an_erased_user_said_is_given_whole_only_to_servers_that_were_there() {
    let mut scene = Scene::set("12").await;
    let bob = support::user("bob").await;
    bob.join(&scene.room.id, &[]).await.unwrap();
    let said = bob.say(&scene.room.id, "a secret").await.unwrap();
    let identifier = json!({ "type": "m.id.user", "user": bob.id });
    let auth = json!({ "type": "m.login.password", "identifier": identifier,
                       "password": PASSWORD });
    let body = json!({ "auth": auth, "erase": true });
    bob.api.post("/_matrix/client/v3/account/deactivate", body).await.unwrap().ok().unwrap();
    scene.sync.membership(&scene.room.id, &bob.id, "leave").await.unwrap();
    let late = support::peer().await;
    late.join(scene.server, &scene.room.id, &late.user("late")).await.unwrap();
    for (peer, is_whole) in [(&scene.peer, true), (&late, false)] {
        let target = path("/_matrix/federation/v1/event/{}", &[&said]);
        let answer = peer.request(scene.server, Method::GET, &target, None).await.unwrap();
        let event = &answer.ok().unwrap()["pdus"][0];
        assert_eq!(event["sender"], bob.id.as_str());
        let content =
            if is_whole { json!({ "msgtype": "m.text", "body": "a secret" }) } else { json!({}) };
        assert_eq!(event["content"], content);
        let target =
            path("/_matrix/federation/v1/backfill/{}?limit=50&v={}", &[&scene.room.id, &said]);
        let answer = peer.request(scene.server, Method::GET, &target, None).await.unwrap();
        assert_eq!(answer.ok().unwrap().to_string().contains("a secret"), is_whole);
    }
}
