//! GET /_matrix/federation/v1/make_join/{roomId}/{userId}, make_leave and make_knock
//! PUT /_matrix/federation/v2/send_join/{roomId}/{eventId}, send_leave, and v1 of send_knock
//!
//! How users of other servers come and go, and each refusal that the specification names.

use serde_json::{Value, json};
use starling_conformance::{
    client::{Answer, User, path},
    evil::{Event, Peer},
    servers::Server,
};

use crate::support;

/// A peer that wants something of a room.
struct Asking {
    server: &'static Server,
    peer: Peer,
    user: String,
}

impl Asking {
    async fn new() -> Self {
        let (server, peer) = (support::server().await, support::peer().await);
        let user = peer.user("newcomer");
        Self { server, peer, user }
    }

    async fn make(&self, verb: &str, room: &str) -> Answer {
        let versions = ["10", "11", "12"].map(|version| format!("ver={version}")).join("&");
        let template = format!("/_matrix/federation/v1/{verb}/{{}}/{{}}?{versions}");
        self.peer.get(self.server, &path(&template, &[room, &self.user])).await.unwrap()
    }

    /// The event that a template becomes.
    async fn made(&self, verb: &str, room: &str) -> Event {
        let template = self.make(verb, room).await.ok().unwrap();
        let version = template["room_version"].as_str().unwrap();
        let mut draft = template["event"].clone();
        draft["origin_server_ts"] = json!(1_700_000_000_000_u64);
        Event::seal(version, &draft, &self.peer.name, &self.peer.key).unwrap()
    }

    async fn send(&self, verb: &str, room: &str, id: &str, body: &Value) -> Answer {
        let target = path(&format!("/_matrix/federation/{verb}/{{}}/{{}}"), &[room, id]);
        self.peer.put(self.server, &target, body).await.unwrap()
    }
}

async fn room_with_rule(user: &User, version: &str, rule: Value) -> String {
    let rule = json!({ "type": "m.room.join_rules", "content": rule });
    user.create_room(json!({ "room_version": version, "initial_state": [rule] })).await.unwrap()
}

#[tokio::test]
async fn somebody_knocks_is_let_in_joins_and_leaves() {
    let asking = Asking::new().await;
    let alice = support::user("alice").await;
    let room = room_with_rule(&alice, "11", json!({ "join_rule": "knock" })).await;
    let knock = asking.made("make_knock", &room).await;
    let answer = asking.send("v1/send_knock", &room, &knock.id, &knock.pdu).await.ok().unwrap();
    let shown = answer["knock_room_state"].as_array().unwrap();
    assert!(shown.iter().any(|event| event["type"] == "m.room.join_rules"), "{answer}");
    let member = alice.state(&room, "m.room.member", &asking.user).await.unwrap().ok().unwrap();
    assert_eq!(member["membership"], "knock");
    alice.invite(&room, &asking.user).await.unwrap();
    let join = asking.made("make_join", &room).await;
    asking.send("v2/send_join", &room, &join.id, &join.pdu).await.ok().unwrap();
    let leave = asking.made("make_leave", &room).await;
    asking.send("v2/send_leave", &room, &leave.id, &leave.pdu).await.ok().unwrap();
    let member = alice.state(&room, "m.room.member", &asking.user).await.unwrap().ok().unwrap();
    assert_eq!(member["membership"], "leave");
}

#[tokio::test]
async fn nothing_is_made_for_rooms_that_are_not_here() {
    let asking = Asking::new().await;
    for verb in ["make_join", "make_knock", "make_leave"] {
        let answer = asking.make(verb, "!nowhere:example.org").await;
        // Who leaves is told no more than a stranger.
        let expected = if verb == "make_leave" { &[403, 404][..] } else { &[404] };
        assert!(expected.contains(&answer.status), "{verb}: {answer:?}");
        if verb != "make_leave" {
            answer.expect_error(404, "M_NOT_FOUND").unwrap();
        }
    }
    let alice = support::user("alice").await;
    let room = alice.create_public_room().await.unwrap();
    let knock = Event::seal(
        "11",
        &json!({ "room_id": room, "type": "m.room.member", "sender": asking.user,
                 "state_key": asking.user, "content": { "membership": "knock" }, "depth": 1,
                 "auth_events": [], "prev_events": [], "origin_server_ts": 1 }),
        &asking.peer.name,
        &asking.peer.key,
    )
    .unwrap();
    let nowhere = "!nowhere:example.org";
    let answer = asking.send("v1/send_knock", nowhere, &knock.id, &knock.pdu).await;
    answer.expect_error(404, "M_NOT_FOUND").unwrap();
}

#[tokio::test]
async fn nobody_knocks_where_the_version_or_the_rules_do_not_know_it() {
    let asking = Asking::new().await;
    let alice = support::user("alice").await;
    let old = alice.create_room(json!({ "room_version": "6" })).await.unwrap();
    let answer = asking.make("make_knock", &old).await;
    answer.expect_error(400, "M_INCOMPATIBLE_ROOM_VERSION").unwrap();
    let room = room_with_rule(&alice, "11", json!({ "join_rule": "knock" })).await;
    let knock = asking.made("make_knock", &room).await;
    for (id, body, errcode) in [
        ("$another", knock.pdu.clone(), "M_INVALID_PARAM"),
        (&knock.id, json!({ "type": "m.knock" }), "M_MISSING_PARAM"),
    ] {
        let answer = asking.send("v1/send_knock", &room, id, &body).await;
        answer.expect_error(400, errcode).unwrap();
    }
    let closed = json!({ "join_rule": "invite" });
    alice.set_state(&room, "m.room.join_rules", "", closed).await.unwrap();
    let answer = asking.send("v1/send_knock", &room, &knock.id, &knock.pdu).await;
    answer.expect_error(403, "M_FORBIDDEN").unwrap();
    asking.make("make_knock", &room).await.expect_error(403, "M_FORBIDDEN").unwrap();
}

#[tokio::test]
async fn a_restricted_room_says_why_nobody_gets_in() {
    let asking = Asking::new().await;
    let alice = support::user("alice").await;
    let bob = support::user("bob").await;
    let club = alice.create_public_room().await.unwrap();
    let allow = |room: &str| {
        let club = json!({ "type": "m.room_membership", "room_id": room });
        json!({ "join_rule": "restricted", "allow": [club] })
    };
    let unknown = room_with_rule(&alice, "11", allow("!nowhere:example.org")).await;
    let answer = asking.make("make_join", &unknown).await;
    answer.expect_error(400, "M_UNABLE_TO_AUTHORISE_JOIN").unwrap();
    let room = room_with_rule(&alice, "11", allow(&club)).await;
    asking.make("make_join", &room).await.expect_error(403, "M_FORBIDDEN").unwrap();
    asking.peer.join(asking.server, &club, &asking.user).await.unwrap();
    let join = asking.made("make_join", &room).await;
    alice.set_state(&room, "m.room.join_rules", "", allow("!nowhere:example.org")).await.unwrap();
    let answer = asking.send("v2/send_join", &room, &join.id, &join.pdu).await;
    answer.expect_error(400, "M_UNABLE_TO_AUTHORISE_JOIN").unwrap();
    alice.set_state(&room, "m.room.join_rules", "", allow(&club)).await.unwrap();
    // Whoever could let somebody in has left; who stays may not invite.
    alice.invite(&room, &bob.id).await.unwrap();
    bob.join(&room, &[]).await.unwrap();
    let levels = json!({ "users": { &alice.id: 100 }, "invite": 50 });
    alice.set_state(&room, "m.room.power_levels", "", levels).await.unwrap();
    alice.leave(&room).await.unwrap();
    let answer = asking.make("make_join", &room).await;
    answer.expect_error(400, "M_UNABLE_TO_GRANT_JOIN").unwrap();
    let answer = asking.send("v2/send_join", &room, &join.id, &join.pdu).await;
    answer.expect_error(400, "M_UNABLE_TO_GRANT_JOIN").unwrap();
}

#[tokio::test]
async fn what_is_sent_must_be_what_was_asked_for() {
    let asking = Asking::new().await;
    let alice = support::user("alice").await;
    let room = alice.create_room(json!({ "preset": "public_chat", "room_version": "11" }));
    let room = room.await.unwrap();
    let join = asking.made("make_join", &room).await;
    for (id, body, errcode) in [
        ("$another", join.pdu.clone(), "M_INVALID_PARAM"),
        (&join.id, json!({}), "M_MISSING_PARAM"),
    ] {
        let answer = asking.send("v2/send_join", &room, id, &body).await;
        answer.expect_error(400, errcode).unwrap();
    }
    asking.send("v2/send_join", &room, &join.id, &join.pdu).await.ok().unwrap();
    for (id, body) in [("$another", join.pdu.clone()), (&join.id, join.pdu.clone())] {
        let answer = asking.send("v2/send_leave", &room, id, &body).await;
        answer.expect_error(400, "M_INVALID_PARAM").unwrap();
    }
}
