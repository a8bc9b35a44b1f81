//! PUT /_matrix/federation/v1/send_join/{roomId}/{eventId}
//! PUT /_matrix/federation/v2/send_join/{roomId}/{eventId}: what it is sent, and what it is told.

use serde_json::{Value, json};
use starling_conformance::{
    client::{Answer, path},
    evil::{Event, Peer, Reply, Room, raw},
};

use crate::{
    scene::{Scene, VERSIONS, assert_others_are_served},
    support,
};

/// A valid join event of a newcomer, not submitted yet.
async fn valid(scene: &Scene, newcomer: &str) -> Event {
    scene.peer.join_event(scene.server, &scene.room.id, newcomer).await.unwrap().1
}

async fn submit(scene: &Scene, room: &str, id: &str, body: &Value) -> Answer {
    let target = path("/_matrix/federation/v2/send_join/{}/{}", &[room, id]);
    scene.peer.put(scene.server, &target, body).await.unwrap()
}

#[tokio::test]
async fn only_a_join_of_a_user_of_the_sender_is_taken() {
    for version in VERSIONS {
        let mut scene = Scene::set(version).await;
        let newcomer = scene.peer.user("newcomer");
        let join = valid(&scene, &newcomer).await;
        let change = |field: &str, value: Value| {
            let mut draft = join.pdu.clone();
            draft[field] = value;
            draft.as_object_mut().unwrap().remove("hashes");
            draft.as_object_mut().unwrap().remove("event_id");
            scene.sealed(&draft)
        };
        let alice = json!(scene.alice.id);
        let other = "@carol:elsewhere.example";
        let foreign = {
            let mut draft = scene.room.member(other, other, "join").unwrap();
            draft["auth_events"] = join.pdu["auth_events"].clone();
            scene.sealed(&draft)
        };
        let hers =
            scene.sealed(&scene.room.member(&scene.alice.id, &scene.alice.id, "join").unwrap());
        let mut corpus = vec![
            ("a join of another server's user", foreign),
            ("a join in Alice's name", hers),
            ("Alice's state key", change("state_key", alice)),
            ("a leave", change("content", json!({ "membership": "leave" }))),
            ("an invitation", change("content", json!({ "membership": "invite" }))),
            ("a ban", change("content", json!({ "membership": "ban" }))),
            ("no membership", change("content", json!({}))),
            ("a message", change("type", json!("m.room.message"))),
            ("another room", change("room_id", json!("!other:example.org"))),
            ("no auth events", change("auth_events", json!([]))),
            ("a negative depth", change("depth", json!(-1))),
            ("a broken signature", join.with_broken_signature(&scene.peer.name)),
            ("no signature", join.tampered(|pdu| pdu["signatures"] = json!({}))),
        ];
        if crate::federation::send::corpus::is_strict(version) {
            let odd = json!({ "membership": "join", "odd": raw("1.5") });
            corpus.push(("a fraction", change("content", odd)));
        }
        for (name, event) in &corpus {
            let answer = submit(&scene, &scene.room.id, &event.id, &event.pdu).await;
            assert!(matches!(answer.status, 400 | 403), "version {version}: {name}: {answer:?}");
        }
        let answer = submit(&scene, &scene.room.id, "$another:example.org", &join.pdu).await;
        assert_eq!(answer.status, 400, "version {version}: another event id: {answer:?}");
        scene.goes_on_without(&corpus).await;
        let answer = submit(&scene, &scene.room.id, &join.id, &join.pdu).await;
        assert_eq!(answer.status, 200, "version {version}: {answer:?}");
        scene.sync.membership(&scene.room.id, &newcomer, "join").await.unwrap();
    }
}

/// What came in by one path must not get into what is sent by another.
#[tokio::test]
async fn a_room_in_the_path_that_is_not_the_events_poisons_no_queue() {
    let mut scene = Scene::set("11").await;
    let third = support::peer().await;
    let trent = third.user("trent");
    third.join(scene.server, &scene.room.id, &trent).await.unwrap();
    let other = Scene::set("11").await;
    let join = valid(&scene, &scene.peer.user("newcomer")).await;
    for verb in ["v2/send_join", "v2/send_leave", "v1/send_knock", "v2/invite"] {
        let template = format!("/_matrix/federation/{verb}/{{}}/{{}}");
        let target = path(&template, &[&other.room.id, &join.id]);
        let body = match verb {
            "v2/invite" => {
                json!({ "room_version": "11", "event": join.pdu, "invite_room_state": [] })
            }
            _ => join.pdu.clone(),
        };
        let answer = scene.peer.put(scene.server, &target, &body).await.unwrap();
        assert!(matches!(answer.status, 400 | 403 | 404), "{verb}: {answer:?}");
    }
    scene.alice.say(&scene.room.id, "for the third server").await.unwrap();
    let arrived = |pdu: &Value| pdu["content"]["body"] == "for the third server";
    third.received_pdu("it", arrived).await.unwrap();
    scene.goes_on_without(&[("a join in another room", join)]).await;
}

#[tokio::test]
async fn nobody_gets_in_where_the_rules_keep_them_out() {
    let mut scene = Scene::set("12").await;
    let newcomer = scene.peer.user("newcomer");
    let join = valid(&scene, &newcomer).await;
    scene.alice.ban(&scene.room.id, &newcomer).await.unwrap();
    let answer = submit(&scene, &scene.room.id, &join.id, &join.pdu).await;
    answer.expect_error(403, "M_FORBIDDEN").unwrap();
    for rule in ["invite", "knock", "restricted"] {
        let other = scene.peer.user(rule);
        let join = valid(&scene, &other).await;
        let content = json!({ "join_rule": rule, "allow": [] });
        scene.alice.set_state(&scene.room.id, "m.room.join_rules", "", content).await.unwrap();
        let answer = submit(&scene, &scene.room.id, &join.id, &join.pdu).await;
        answer.expect_error(403, "M_FORBIDDEN").unwrap();
        let open = json!({ "join_rule": "public" });
        scene.alice.set_state(&scene.room.id, "m.room.join_rules", "", open).await.unwrap();
    }
    scene.goes_on_without(&[("a banned user's join", join)]).await;
}

/// A join that names a member of this server as the one who lets it happen needs this server's
/// signature, which the sender cannot have.
#[tokio::test]
async fn an_authorisation_that_was_not_given_is_not_believed() {
    for version in ["8", "11", "12"] {
        let club = support::user("club").await.create_public_room().await.unwrap();
        let rule = json!({
            "type": "m.room.join_rules",
            "content": {
                "join_rule": "restricted",
                "allow": [{ "type": "m.room_membership", "room_id": club }],
            },
        });
        let options = json!({ "room_version": version, "initial_state": [rule] });
        let alice = support::user("alice").await;
        let (server, peer) = (support::server().await, support::peer().await);
        let room = alice.create_room(options).await.unwrap();
        let member = peer.user("member");
        alice.invite(&room, &member).await.unwrap();
        let view = peer.join(server, &room, &member).await.unwrap();
        let intruder = peer.user("intruder");
        let mut draft = view.member(&intruder, &intruder, "join").unwrap();
        draft["content"]["join_authorised_via_users_server"] = alice.id.clone().into();
        let mut authority = draft["auth_events"].as_array().unwrap().clone();
        authority.push(view.state_id("m.room.member", &alice.id).unwrap().into());
        draft["auth_events"] = authority.into();
        let join = peer.seal(&view, &draft).unwrap();
        let target = path("/_matrix/federation/v2/send_join/{}/{}", &[&room, &join.id]);
        let answer = peer.put(server, &target, &join.pdu).await.unwrap();
        assert!(matches!(answer.status, 400 | 403), "version {version}: {answer:?}");
        assert!(!answer.body.to_string().contains("signatures"), "{answer:?}");
        peer.send(server, &[&join]).await.unwrap();
        let answer = alice.event(&room, &join.id).await.unwrap();
        answer.expect_error(404, "M_NOT_FOUND").unwrap();
        assert_others_are_served(server).await;
    }
}

/// What the peer tells whoever joins its room, and whether that can be the room.
struct Told {
    name: &'static str,
    reply: Reply,
}

#[tokio::test]
async fn a_join_that_the_peer_answers_with_nonsense_leaves_nothing_behind() {
    let server = support::server().await;
    let peer = support::peer().await;
    let mallory = peer.user("mallory");
    let alice = support::user("alice").await;
    let room = peer.create_room("11", &mallory).unwrap();
    for Told { name, reply } in nonsense(&peer, &room) {
        peer.answer("send_join", reply);
        let answer = alice.try_join(&room.id, &[&peer.name]).await.unwrap();
        assert!(answer.status >= 400 && answer.status != 500, "{name}: {answer:?}");
        assert_ne!(answer.status, 401, "{name}: {answer:?}");
        let joined = alice.api.get("/_matrix/client/v3/joined_rooms").await.unwrap().ok().unwrap();
        assert_eq!(joined["joined_rooms"], json!([]), "{name}");
        alice.api.get("/_matrix/client/v3/sync").await.unwrap().ok().unwrap();
    }
    peer.be_honest();
    alice.join(&room.id, &[&peer.name]).await.unwrap();
    alice.say(&room.id, "in at last").await.unwrap();
    peer.received_pdu("it", |pdu| pdu["content"]["body"] == "in at last").await.unwrap();
    assert_others_are_served(server).await;
}

fn nonsense(peer: &Peer, room: &Room) -> Vec<Told> {
    let told = |name: &'static str, reply: Reply| Told { name, reply };
    let state: Vec<Value> = ["m.room.create", "m.room.power_levels", "m.room.join_rules"]
        .iter()
        .filter_map(|kind| room.state_event(kind, ""))
        .chain(room.state_event("m.room.member", &peer.user("mallory")))
        .map(|event| event.pdu)
        .collect();
    let create = room.state_event("m.room.create", "").unwrap();
    let broken = create.with_broken_signature(&peer.name).pdu;
    let with_broken_create: Vec<&Value> = [&broken].into_iter().chain(&state[1..]).collect();
    let elsewhere = peer.create_room("11", &peer.user("mallory")).unwrap();
    let foreign: Vec<Value> = elsewhere.timeline().into_iter().map(|event| event.pdu).collect();
    let answer = |state: Value, chain: Value| {
        Reply::ok(json!({ "state": state, "auth_chain": chain, "origin": peer.name }))
    };
    vec![
        told("an empty object", Reply::ok(json!({}))),
        told("a list", Reply::ok(json!([]))),
        told("no state", answer(json!([]), json!([]))),
        told("null as state", answer(Value::Null, Value::Null)),
        told("numbers as state", answer(json!([1, 2]), json!([3]))),
        told("state without creation", answer(json!(state[1..]), json!(state[1..]))),
        told(
            "a creation with a broken signature",
            answer(json!(with_broken_create), json!(with_broken_create)),
        ),
        told("another room's state", answer(json!(foreign), json!(foreign))),
        told("text", Reply::Bytes(200, "text/plain", "hello".into())),
        told("no UTF-8", Reply::Bytes(200, "application/json", vec![b'"', 0xff, b'"'].into())),
        told("a redirection", Reply::Redirect(format!("https://{}/", peer.name))),
        told("an error", Reply::error(500, "M_UNKNOWN")),
        told("a log-out", Reply::error(401, "M_UNKNOWN_TOKEN")),
        told("a refusal", Reply::error(403, "M_FORBIDDEN")),
    ]
}

/// State that is not proven is not taken over, whatever else is in the answer.
#[tokio::test]
async fn state_with_a_broken_signature_is_not_taken_over() {
    for version in VERSIONS {
        let server = support::server().await;
        let peer = support::peer().await;
        let mallory = peer.user("mallory");
        let name = json!({ "name": "proven" });
        let topic = json!({ "topic": "not proven" });
        let state = [("m.room.name", name), ("m.room.topic", topic)];
        let room = peer.create_room_with(version, &mallory, "public", &state).unwrap();
        let carol = "@carol:elsewhere.example";
        let foreign = room.member(carol, carol, "join").unwrap();
        let foreign = peer.seal(&room, &foreign).unwrap();
        let all: Vec<Value> = room
            .timeline()
            .into_iter()
            .map(|event| match event.kind() {
                "m.room.topic" => event.with_broken_signature(&peer.name).pdu,
                _ => event.pdu,
            })
            .chain([foreign.pdu])
            .collect();
        peer.answer("send_join", Reply::ok(json!({ "state": all, "auth_chain": all })));
        let alice = support::user("alice").await;
        let answer = alice.try_join(&room.id, &[&peer.name]).await.unwrap();
        if answer.status == 200 {
            let name = alice.state(&room.id, "m.room.name", "").await.unwrap().ok().unwrap();
            assert_eq!(name["name"], "proven", "version {version}");
            for (kind, key) in [("m.room.topic", ""), ("m.room.member", carol)] {
                let answer = alice.state(&room.id, kind, key).await.unwrap();
                assert_eq!(answer.status, 404, "version {version}: {kind}: {answer:?}");
            }
        }
        assert_others_are_served(server).await;
    }
}

#[tokio::test]
async fn the_older_form_does_the_same() {
    let scene = Scene::set("10").await;
    let newcomer = scene.peer.user("newcomer");
    let join = valid(&scene, &newcomer).await;
    let put = async |event: &Event| {
        let ids = [scene.room.id.as_str(), event.id.as_str()];
        let target = path("/_matrix/federation/v1/send_join/{}/{}", &ids);
        scene.peer.put(scene.server, &target, &event.pdu).await.unwrap()
    };
    let message = scene.message("no join");
    assert_eq!(put(&message).await.status, 400);
    let answer = put(&join).await.ok().unwrap();
    assert_eq!(answer[0], 200);
    for field in ["state", "auth_chain"] {
        assert!(!answer[1][field].as_array().unwrap().is_empty(), "{field}: {answer}");
    }
}

#[tokio::test]
async fn a_join_says_what_it_must() {
    let scene = Scene::set("11").await;
    let join = valid(&scene, &scene.peer.user("newcomer")).await;
    for field in ["sender", "origin_server_ts", "type", "state_key", "content"] {
        for version in ["v1", "v2"] {
            let mut body = join.pdu.clone();
            body.as_object_mut().unwrap().remove(field);
            let template = format!("/_matrix/federation/{version}/send_join/{{}}/{{}}");
            let target = path(&template, &[&scene.room.id, &join.id]);
            let answer = scene.peer.put(scene.server, &target, &body).await.unwrap();
            answer.expect_error(400, "M_MISSING_PARAM").unwrap();
        }
    }
    submit(&scene, &scene.room.id, &join.id, &join.pdu).await.ok().unwrap();
}
