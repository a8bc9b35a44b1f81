//! PUT /_matrix/federation/v2/invite/{roomId}/{eventId}: what is signed, what is shown, and how an
//! invitation ends.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use starling_conformance::{
    client::{Answer, Sync, User, path},
    evil::{Event, Peer, Received, Reply, Room, invite_state, raw},
    servers::Server,
};

use crate::{scene::assert_others_are_served, support};

struct Stage {
    server: &'static Server,
    peer: Peer,
    mallory: String,
    alice: User,
    room: Room,
}

async fn stage(version: &str) -> Stage {
    let (server, peer, alice) =
        (support::server().await, support::peer().await, support::user("alice").await);
    let mallory = peer.user("mallory");
    let room = peer.create_room_with(version, &mallory, "invite", &[]).unwrap();
    Stage { server, peer, mallory, alice, room }
}

impl Stage {
    fn invitation(&self) -> Value {
        self.room.member(&self.mallory, &self.alice.id, "invite").unwrap()
    }

    fn seal(&self, draft: &Value) -> Event {
        self.peer.seal(&self.room, draft).unwrap()
    }

    async fn invite(&self) {
        self.peer.invite(self.server, &self.room, &self.mallory, &self.alice.id).await.unwrap();
    }

    async fn sync(&self) -> Value {
        self.alice.api.get("/_matrix/client/v3/sync").await.unwrap().ok().unwrap()
    }

    async fn is_invited(&self) -> bool {
        self.sync().await["rooms"]["invite"].get(&self.room.id).is_some()
    }
}

#[tokio::test]
async fn nothing_but_an_invitation_of_a_local_user_by_the_sender_is_signed() {
    for version in ["1", "11", "12"] {
        let stage = stage(version).await;
        let change = |field: &str, value: Value| {
            let mut draft = stage.invitation();
            draft[field] = value;
            stage.seal(&draft)
        };
        let content = |membership: &str| change("content", json!({ "membership": membership }));
        let bob = support::user("bob").await;
        let good = stage.seal(&stage.invitation());
        let power = json!({ "users": { &stage.mallory: 100 }, "membership": "invite" });
        let corpus = [
            ("a leave", content("leave")),
            ("a ban", content("ban")),
            ("a join", content("join")),
            ("a knock", content("knock")),
            ("no membership", change("content", json!({}))),
            ("power levels", change("type", json!("m.room.power_levels"))),
            ("a message", change("type", json!("m.room.message"))),
            (
                "power",
                change("content", power.clone())
                    .tampered(|pdu| pdu["type"] = json!("m.room.power_levels")),
            ),
            ("a local sender", change("sender", json!(bob.id))),
            ("the invited user as sender", change("sender", json!(stage.alice.id))),
            ("another server's sender", change("sender", json!("@carol:elsewhere.example"))),
            (
                "another server's user invited",
                change("state_key", json!("@carol:elsewhere.example")),
            ),
            ("an own user invited", change("state_key", json!(stage.peer.user("trent")))),
            ("no state key", change("state_key", Value::Null)),
            ("another room", change("room_id", json!("!other:example.org"))),
            ("a broken signature", good.with_broken_signature(&stage.peer.name)),
            ("no signature", good.tampered(|pdu| pdu["signatures"] = json!({}))),
            (
                "content changed after signing",
                good.tampered(|pdu| pdu["content"]["membership"] = json!("ban")),
            ),
        ];
        for (name, event) in &corpus {
            let answer =
                stage.peer.send_invite(stage.server, &stage.room, event, json!([])).await.unwrap();
            assert!((400..500).contains(&answer.status), "version {version}: {name}: {answer:?}");
            assert!(!answer.body.to_string().contains("signatures"), "{name}: {answer:?}");
        }
        let elsewhere = Event { id: "$another:example.org".to_owned(), ..good.clone() };
        let answer =
            stage.peer.send_invite(stage.server, &stage.room, &elsewhere, json!([])).await.unwrap();
        assert_eq!(answer.status, 400, "another event id: {answer:?}");
        assert!(!stage.is_invited().await, "version {version}");
        let answer =
            stage.peer.send_invite(stage.server, &stage.room, &good, invite_state(&stage.room));
        let signed = answer.await.unwrap().ok().unwrap();
        stage.peer.verify(stage.server, version, &signed["event"]).await.unwrap();
        assert!(stage.is_invited().await, "version {version}");
        assert_others_are_served(stage.server).await;
    }
}

#[tokio::test]
async fn an_unknown_room_version_is_not_guessed_at() {
    let stage = stage("11").await;
    let event = stage.seal(&stage.invitation());
    for (version, errcode) in [
        (json!("org.example.unknown"), "M_INCOMPATIBLE_ROOM_VERSION"),
        (json!("13"), "M_INCOMPATIBLE_ROOM_VERSION"),
        (json!(11), "M_BAD_JSON"),
        (Value::Null, "M_BAD_JSON"),
    ] {
        let target = path("/_matrix/federation/v2/invite/{}/{}", &[&stage.room.id, &event.id]);
        let body = json!({ "room_version": version, "event": event.pdu, "invite_room_state": [] });
        let answer = stage.peer.put(stage.server, &target, &body).await.unwrap();
        answer.expect_error(400, errcode).unwrap();
    }
    assert!(!stage.is_invited().await);
}

#[tokio::test]
async fn odd_state_beside_an_invitation_breaks_no_sync() {
    let long: Vec<Value> = (0..200)
        .map(|index| json!({
            "type": format!("org.example.{index}"), "state_key": "", "sender": "@x:y", "content": { "x": "x".repeat(2000) },
        }))
        .collect();
    let extra = json!([{
        "type": "m.room.name", "state_key": "", "sender": "@mallory:example.org",
        "content": { "name": "a room" }, "unsigned": { "secret": "hidden" }, "secret": "hidden",
    }]);
    for (name, state) in [
        ("a number", json!(5)),
        ("text", json!("state")),
        ("an object", json!({ "a": 1 })),
        ("null", Value::Null),
        ("numbers in a list", json!([1, 2, null, [], "x"])),
        ("empty objects", json!([{}, {}])),
        ("wrong types", json!([{ "type": 1, "state_key": [], "sender": {}, "content": "x" }])),
        (
            "odd content",
            json!([{ "type": "m.room.name", "state_key": "", "sender": "@x:y", "content": { "name": 5 } }]),
        ),
        (
            "a fraction",
            json!([{ "type": "m.room.name", "state_key": "", "sender": "@x:y", "content": { "n": raw("1.5") } }]),
        ),
        ("much", json!(long)),
        ("more than is to be shown", extra),
    ] {
        let stage = stage("11").await;
        let event = stage.seal(&stage.invitation());
        let answer =
            stage.peer.send_invite(stage.server, &stage.room, &event, state).await.unwrap();
        assert!(matches!(answer.status, 200 | 400 | 413), "{name}: {answer:?}");
        let shown = stage.sync().await;
        let invite = &shown["rooms"]["invite"][&stage.room.id];
        assert_eq!(invite.is_object(), answer.status == 200, "{name}: {shown}");
        let text = invite.to_string();
        assert!(!text.contains("hidden"), "{name}: {text}");
        assert!(text.len() < 100_000, "{name}: {} bytes", text.len());
        for event in invite["invite_state"]["events"].as_array().into_iter().flatten() {
            for field in ["type", "state_key", "sender"] {
                assert!(event[field].is_string(), "{name}: {event}");
            }
            assert!(event["content"].is_object(), "{name}: {event}");
        }
        if answer.status == 200 {
            stage.peer.answer("make_leave", Reply::error(404, "M_NOT_FOUND"));
            stage.alice.leave(&stage.room.id).await.unwrap();
            assert!(!stage.is_invited().await, "{name}");
        }
        assert_others_are_served(stage.server).await;
    }
}

/// A harassing invitation must not stay because its server does not answer.
#[tokio::test]
async fn an_invitation_is_declined_whatever_its_server_does() {
    let forbidden = Reply::error(403, "M_FORBIDDEN");
    for (name, replies) in [
        ("500", vec![("make_leave", Reply::error(500, "M_UNKNOWN"))]),
        ("404", vec![("make_leave", Reply::error(404, "M_NOT_FOUND"))]),
        ("403", vec![("make_leave", forbidden.clone())]),
        ("a log-out", vec![("make_leave", Reply::error(401, "M_UNKNOWN_TOKEN"))]),
        ("nonsense", vec![("make_leave", Reply::ok(json!([])))]),
        ("no end", vec![("make_leave", Reply::Endless)]),
        ("a redirection", vec![("make_leave", Reply::Redirect("https://localhost:1/".to_owned()))]),
        ("403 at the end", vec![("send_leave", forbidden)]),
        ("nonsense at the end", vec![("send_leave", Reply::Bytes(200, "text/html", "<p>".into()))]),
        ("silence", vec![("make_leave", Reply::Silence)]),
    ] {
        let stage = stage("12").await;
        stage.invite().await;
        let second_device = stage.alice.login().await.unwrap();
        let mut sync = Sync::start(&second_device).await.unwrap();
        for (piece, reply) in replies {
            stage.peer.answer(piece, reply);
        }
        decline_swiftly(&stage, &mut sync, name).await;
    }
}

#[tokio::test]
async fn an_invitation_is_declined_also_for_a_reason_that_no_event_can_hold() {
    let stage = stage("11").await;
    stage.invite().await;
    let target = path("/_matrix/client/v3/rooms/{}/leave", &[&stage.room.id]);
    let body = json!({ "reason": "no ".repeat(30_000) });
    stage.alice.api.post(&target, body).await.unwrap().ok().unwrap();
    assert!(!stage.is_invited().await);
}

#[tokio::test]
async fn an_invitation_of_a_server_that_is_gone_is_declined() {
    let stage = stage("12").await;
    stage.invite().await;
    let mut sync = Sync::start(&stage.alice.login().await.unwrap()).await.unwrap();
    let Stage { server, peer, mallory, alice, room } = stage;
    drop(peer);
    let stage = Stage { server, peer: support::peer().await, mallory, alice, room };
    decline_swiftly(&stage, &mut sync, "gone").await;
}

async fn decline_swiftly(stage: &Stage, sync: &mut Sync, name: &str) {
    let begun = Instant::now();
    stage.alice.leave(&stage.room.id).await.unwrap_or_else(|error| panic!("{name}: {error:#}"));
    assert!(begun.elapsed() < Duration::from_secs(10), "{name}: {:?}", begun.elapsed());
    let left = sync.section("leave", &stage.room.id).await.unwrap();
    assert_shows_leave(&left, &stage.alice.id, &stage.alice.id);
    assert!(!stage.is_invited().await, "{name}");
    let forget = path("/_matrix/client/v3/rooms/{}/forget", &[&stage.room.id]);
    let answer = stage.alice.api.post(&forget, json!({})).await.unwrap();
    answer.ok().unwrap_or_else(|error| panic!("{name}: {error:#}"));
    assert_others_are_served(stage.server).await;
}

/// A room that was left shows by which event, although nothing else is known of it.
fn assert_shows_leave(left: &Value, sender: &str, user: &str) {
    let events = left["timeline"]["events"].as_array().unwrap();
    assert_eq!(events.len(), 1, "{left}");
    assert_eq!(events[0]["type"], "m.room.member");
    assert_eq!((&events[0]["sender"], &events[0]["state_key"]), (&json!(sender), &json!(user)));
    assert_eq!(events[0]["content"]["membership"], "leave");
    assert!(events[0]["event_id"].is_string() && events[0]["origin_server_ts"].is_number());
}

#[tokio::test]
async fn an_invitation_that_is_taken_back_goes() {
    for version in ["1", "11", "12"] {
        let stage = stage(version).await;
        stage.invite().await;
        let mut sync = Sync::start(&stage.alice).await.unwrap();
        assert!(stage.is_invited().await);
        let leave = stage.room.member(&stage.mallory, &stage.alice.id, "leave").unwrap();
        stage.peer.put_out(stage.server, &stage.room, &leave).await.unwrap();
        let left = sync.section("leave", &stage.room.id).await.unwrap();
        assert_shows_leave(&left, &stage.mallory, &stage.alice.id);
        assert!(!stage.is_invited().await, "version {version}");
        // And it can be made once more.
        stage.invite().await;
        sync.section("invite", &stage.room.id).await.unwrap();
        stage.alice.join(&stage.room.id, &[&stage.peer.name]).await.unwrap();
        assert_others_are_served(stage.server).await;
    }
}

#[tokio::test]
async fn a_stranger_takes_no_invitation_back() {
    for version in ["1", "11", "12"] {
        let stage = stage(version).await;
        stage.invite().await;
        let stranger = support::peer().await;
        let eve = stranger.user("eve");
        for sender in [&eve, &stage.mallory] {
            let leave = stage.room.member(sender, &stage.alice.id, "leave").unwrap();
            let leave = stranger.seal(&stage.room, &leave).unwrap();
            stranger.send(stage.server, &[&leave]).await.unwrap();
        }
        let broken = stage.room.member(&stage.mallory, &stage.alice.id, "leave").unwrap();
        let broken = stage.seal(&broken).with_broken_signature(&stage.peer.name);
        stage.peer.send(stage.server, &[&broken]).await.unwrap();
        assert!(stage.is_invited().await, "version {version}");
        stage.alice.join(&stage.room.id, &[&stage.peer.name]).await.unwrap();
    }
}

#[tokio::test]
async fn who_takes_an_invitation_back_tells_the_invited_server() {
    let (server, peer, alice) =
        (support::server().await, support::peer().await, support::user("alice").await);
    let mallory = peer.user("mallory");
    let room = alice.create_room(json!({ "preset": "private_chat" })).await.unwrap();
    alice.invite(&room, &mallory).await.unwrap();
    peer.received("the invitation", |request| request.pieces.contains(&"invite".to_owned()))
        .await
        .unwrap();
    alice.kick(&room, &mallory).await.unwrap();
    let is_leave = |pdu: &Value| {
        pdu["state_key"] == mallory.as_str() && pdu["content"]["membership"] == "leave"
    };
    let pdu = peer.received_pdu("the leave", is_leave).await.unwrap();
    peer.verify(server, "12", &pdu).await.unwrap();
}

/// Other servers get whole events with an invitation, which they can check; users get of them what
/// helps to recognise the room, wherever the room is known.
#[tokio::test]
async fn the_create_event_comes_whole_to_servers_and_stripped_to_users() {
    let (server, peer) = (support::server().await, support::peer().await);
    let (alice, bob) = (support::user("alice").await, support::user("bob").await);
    let mallory = peer.user("mallory");
    for version in ["10", "11", "12"] {
        let room = alice.create_room(json!({ "room_version": version })).await.unwrap();
        alice.invite(&room, &mallory).await.unwrap();
        let is_it = |request: &Received| {
            request.pieces.contains(&"invite".to_owned()) && request.pieces.contains(&room)
        };
        let request = peer.received("the invitation", is_it).await.unwrap();
        let state = request.body["invite_room_state"].as_array().unwrap();
        let create = state.iter().find(|event| event["type"] == "m.room.create").unwrap();
        assert_eq!(create["content"]["room_version"], version);
        for event in state {
            peer.verify(server, version, event).await.unwrap();
        }

        alice.invite(&room, &bob.id).await.unwrap();
        let shown = bob.api.get("/_matrix/client/v3/sync").await.unwrap().ok().unwrap();
        let state = shown["rooms"]["invite"][&room]["invite_state"]["events"].as_array().unwrap();
        assert!(state.iter().any(|event| event["type"] == "m.room.create"), "{shown}");
        for event in state {
            let fields: Vec<&String> = event.as_object().unwrap().keys().collect();
            assert_eq!(fields, ["content", "sender", "state_key", "type"]);
        }
    }
}

/// Hands in an invitation in one of the two forms of the request.
async fn hand_in(stage: &Stage, version: &str, event: &Event) -> Answer {
    let ids = [stage.room.id.as_str(), event.id.as_str()];
    let target = path(&format!("/_matrix/federation/{version}/invite/{{}}/{{}}"), &ids);
    let state = invite_state(&stage.room);
    let body = match version {
        "v1" => event.tampered(|pdu| pdu["unsigned"] = json!({ "invite_room_state": state })).pdu,
        _ => json!({ "room_version": "1", "event": event.pdu, "invite_room_state": state }),
    };
    stage.peer.put(stage.server, &target, &body).await.unwrap()
}

#[tokio::test]
async fn both_forms_of_an_invitation_are_refused_for_the_same_reasons() {
    for version in ["v1", "v2"] {
        let stage = stage("1").await;
        let leave = stage.room.member(&stage.mallory, &stage.alice.id, "leave").unwrap();
        let answer = hand_in(&stage, version, &stage.seal(&leave)).await;
        answer.expect_error(400, "M_INVALID_PARAM").unwrap();

        let nobody = stage.alice.id.replace("@alice", "@nobody");
        let invite = stage.room.member(&stage.mallory, &nobody, "invite").unwrap();
        let answer = hand_in(&stage, version, &stage.seal(&invite)).await;
        answer.expect_error(403, "M_FORBIDDEN").unwrap();

        let data = "/_matrix/client/v3/user/{}/account_data/m.invite_permission_config";
        let data = path(data, &[&stage.alice.id]);
        let blocking = json!({ "default_action": "block" });
        stage.alice.api.put(&data, blocking).await.unwrap().ok().unwrap();
        let event = stage.seal(&stage.invitation());
        hand_in(&stage, version, &event).await.expect_error(403, "M_INVITE_BLOCKED").unwrap();

        stage.alice.api.put(&data, json!({})).await.unwrap().ok().unwrap();
        let answer = hand_in(&stage, version, &event).await.ok().unwrap();
        // The older form answers with the status too.
        let signed = if version == "v1" { &answer[1]["event"] } else { &answer["event"] };
        assert!(version == "v2" || answer[0] == 200, "{answer}");
        stage.peer.verify(stage.server, "1", signed).await.unwrap();
        assert!(stage.is_invited().await, "{version}");
    }
}

#[tokio::test]
async fn an_invitation_says_what_it_must() {
    let stage = stage("11").await;
    let event = stage.seal(&stage.invitation());
    let target = path("/_matrix/federation/v2/invite/{}/{}", &[&stage.room.id, &event.id]);
    for body in [json!({ "room_version": "11" }), json!({ "event": event.pdu }), json!({})] {
        let answer = stage.peer.put(stage.server, &target, &body).await.unwrap();
        answer.expect_error(400, "M_MISSING_PARAM").unwrap();
    }
    assert!(!stage.is_invited().await);
}
