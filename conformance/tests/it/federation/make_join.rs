//! GET /_matrix/federation/v1/make_join/{roomId}/{userId}, and make_leave, make_knock beside it: what
//! they are asked, and what a peer may answer without getting anything else signed.

use serde_json::{Value, json};
use starling_conformance::{
    client::{User, path},
    evil::{Peer, Reply, Room},
};

use crate::{
    scene::{Scene, assert_others_are_served},
    support,
};

#[tokio::test]
async fn a_template_is_for_users_of_who_asks_and_for_versions_that_it_knows() {
    let scene = Scene::set("11").await;
    let ask = async |verb: &str, room: &str, user: &str, query: &str| {
        let template = format!("/_matrix/federation/v1/{verb}/{{}}/{{}}{query}");
        scene.peer.get(scene.server, &path(&template, &[room, user])).await.unwrap()
    };
    let (room, newcomer) = (scene.room.id.as_str(), scene.peer.user("newcomer"));
    for verb in ["make_join", "make_leave", "make_knock"] {
        for user in [scene.alice.id.as_str(), "@carol:elsewhere.example"] {
            let answer = ask(verb, room, user, "?ver=11").await;
            answer.expect_error(403, "M_FORBIDDEN").unwrap();
        }
        for user in ["no user", "@", "mallory", "@mallory", "#alias:example.org"] {
            let answer = ask(verb, room, user, "?ver=11").await;
            assert!(matches!(answer.status, 400 | 403), "{verb} {user}: {answer:?}");
        }
        let answer = ask(verb, "!unknown:example.org", &newcomer, "?ver=11").await;
        assert!(matches!(answer.status, 403 | 404), "{verb}: {answer:?}");
        let answer = ask(verb, "no room", &newcomer, "?ver=11").await;
        assert!(matches!(answer.status, 400 | 404), "{verb}: {answer:?}");
    }
    for query in ["", "?ver=1", "?ver=12&ver=org.example.unknown"] {
        let answer = ask("make_join", room, &newcomer, query).await;
        let body = answer.expect_error(400, "M_INCOMPATIBLE_ROOM_VERSION").unwrap();
        assert_eq!(body["room_version"], "11", "{query}: {body}");
    }
    let secret = scene.alice.create_room(json!({ "preset": "private_chat" })).await.unwrap();
    let answer = ask("make_join", &secret, &newcomer, "?ver=12").await;
    assert!(matches!(answer.status, 403 | 404), "{answer:?}");
    assert_others_are_served(scene.server).await;
}

/// A template of the peer's, and what is wrong with it.
type Template = (&'static str, Value);

fn templates(peer: &Peer, room: &Room, user: &User, membership: &str) -> Vec<Template> {
    let honest = room.member(&user.id, &user.id, membership).unwrap();
    let version = room.version.clone();
    let with = |field: &str, value: Value| {
        let mut event = honest.clone();
        event[field] = value;
        json!({ "room_version": version, "event": event })
    };
    let in_version = |version: Value| json!({ "room_version": version, "event": honest });
    let content = |membership: &str| json!({ "membership": membership });
    let power = json!({ "users": { peer.user("mallory"): 100 }, "membership": membership });
    vec![
        ("another type", with("type", json!("m.room.message"))),
        ("power levels", with("type", json!("m.room.power_levels"))),
        ("another sender", with("sender", json!(peer.user("mallory")))),
        ("another state key", with("state_key", json!(peer.user("mallory")))),
        ("no state key", with("state_key", Value::Null)),
        ("another room", with("room_id", json!("!other:example.org"))),
        ("a ban", with("content", content("ban"))),
        ("an invitation", with("content", content("invite"))),
        ("a membership that does not exist", with("content", content("king"))),
        ("content that is a list", with("content", json!([]))),
        ("power in the content", with("content", power)),
        ("a further key", with("org.example.further", json!("sign this"))),
        ("an event id", with("event_id", json!("$chosen:example.org"))),
        ("hashes", with("hashes", json!({ "sha256": "AAAA" }))),
        ("auth events that are none", with("auth_events", json!([1]))),
        ("previous events that are none", with("prev_events", json!("x"))),
        ("21 previous events", with("prev_events", json!(vec!["$a"; 21]))),
        ("a depth beyond all", with("depth", json!(u64::MAX))),
        ("an unknown version", in_version(json!("org.example.unknown"))),
        ("a number as version", in_version(json!(11))),
        ("another version", in_version(json!("3"))),
        ("no event", json!({ "room_version": room.version })),
        ("a list", json!([])),
    ]
}

/// Whatever the peer asked for, what it was given is signed by the user's server only as the very
/// change of membership that the user wanted.
fn assert_nothing_else_was_signed(
    peer: &Peer,
    room: &str,
    user: &str,
    verb: &str,
    membership: &str,
) {
    for request in peer.seen(verb) {
        let event = &request.body;
        let name = format!("{verb}: {event}");
        assert_eq!(event["type"], "m.room.member", "{name}");
        assert_eq!(event["sender"], user, "{name}");
        assert_eq!(event["state_key"], user, "{name}");
        assert_eq!(event["room_id"], room, "{name}");
        assert_eq!(event["content"]["membership"], membership, "{name}");
        assert!(event["content"].get("users").is_none(), "{name}");
        assert!(event.get("org.example.further").is_none(), "{name}");
        assert!(event["content"].get("org.example.further").is_none(), "{name}");
    }
}

#[tokio::test]
async fn a_join_template_gets_nothing_else_signed() {
    let server = support::server().await;
    let (peer, alice) = (support::peer().await, support::user("alice").await);
    let room = peer.create_room("11", &peer.user("mallory")).unwrap();
    for (name, template) in templates(&peer, &room, &alice, "join") {
        peer.answer("make_join", Reply::ok(template));
        let answer = alice.try_join(&room.id, &[&peer.name]).await.unwrap();
        assert!(!matches!(answer.status, 401 | 500), "{name}: {answer:?}");
        if answer.status == 200 {
            alice.leave(&room.id).await.unwrap();
        }
    }
    assert_nothing_else_was_signed(&peer, &room.id, &alice.id, "send_join", "join");
    peer.be_honest();
    alice.join(&room.id, &[&peer.name]).await.unwrap();
    assert_others_are_served(server).await;
}

#[tokio::test]
async fn a_leave_template_gets_nothing_else_signed() {
    let server = support::server().await;
    let (peer, alice) = (support::peer().await, support::user("alice").await);
    let mallory = peer.user("mallory");
    let room = peer.create_room_with("11", &mallory, "invite", &[]).unwrap();
    for (name, template) in templates(&peer, &room, &alice, "leave") {
        peer.be_honest();
        peer.invite(server, &room, &mallory, &alice.id).await.unwrap();
        peer.answer("make_leave", Reply::ok(template));
        alice.leave(&room.id).await.unwrap_or_else(|error| panic!("{name}: {error:#}"));
        let kick = room.member(&mallory, &alice.id, "leave").unwrap();
        peer.put_in(&room, &kick).unwrap();
    }
    assert_nothing_else_was_signed(&peer, &room.id, &alice.id, "send_leave", "leave");
    assert_others_are_served(server).await;
}

#[tokio::test]
async fn a_knock_template_gets_nothing_else_signed() {
    let server = support::server().await;
    let (peer, alice) = (support::peer().await, support::user("alice").await);
    let room = peer.create_room_with("11", &peer.user("mallory"), "knock", &[]).unwrap();
    peer.answer("send_knock", Reply::ok(json!({ "knock_room_state": [] })));
    let target = path("/_matrix/client/v3/knock/{}?via={}", &[&room.id, &peer.name]);
    for (name, template) in templates(&peer, &room, &alice, "knock") {
        peer.answer("make_knock", Reply::ok(template));
        let answer = alice.api.post(&target, json!({})).await.unwrap();
        assert!(!matches!(answer.status, 401 | 500), "{name}: {answer:?}");
        if answer.status == 200 {
            peer.answer("make_leave", Reply::error(404, "M_NOT_FOUND"));
            alice.leave(&room.id).await.unwrap_or_else(|error| panic!("{name}: {error:#}"));
        }
    }
    assert_nothing_else_was_signed(&peer, &room.id, &alice.id, "send_knock", "knock");
    assert_others_are_served(server).await;
}
