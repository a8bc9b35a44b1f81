//! Rooms with a policy server: what it is asked, and what becomes of events that it does not sign.
//!
//! <https://spec.matrix.org/v1.19/server-server-api/#policy-servers>

use serde_json::{Value, json};
use starling_conformance::{
    client::{Answer, Sync, User},
    evil::{Event, Key, Peer, Reply, Room},
    random,
    servers::Server,
};

use crate::support;

const VERSION: &str = "11";

/// A room of alice with a policy server that is in it.
struct Scene {
    server: &'static Server,
    peer: Peer,
    key: Key,
    alice: User,
    bot: String,
    room: Room,
}

impl Scene {
    async fn new() -> Self {
        let server = support::server().await;
        let (peer, alice) = (support::peer().await, support::user("alice").await);
        let options = json!({ "preset": "public_chat", "room_version": VERSION });
        let id = alice.create_room(options).await.unwrap();
        let (bot, key) = (peer.user("bot"), Key::new().unwrap());
        let room = peer.join(server, &id, &bot).await.unwrap();
        peer.guard(VERSION, &key, |pdu| pdu["content"]["body"] != "spam");
        let scene = Self { server, peer, key, alice, bot, room };
        scene.appoint(&scene.key.public()).await;
        assert!(scene.peer.asked_to_sign().is_empty(), "it is appointed without being asked");
        scene
    }

    async fn appoint(&self, public_key: &str) {
        let content = json!({ "via": self.peer.name, "public_keys": { "ed25519": public_key } });
        self.alice.set_state(&self.room.id, "m.room.policy", "", content).await.unwrap();
    }

    async fn say(&self, body: &str) -> Answer {
        let content = json!({ "msgtype": "m.text", "body": body });
        let txn = random::suffix().unwrap();
        self.alice.try_send(&self.room.id, "m.room.message", &txn, content).await.unwrap()
    }

    fn made_by_bot(&self, body: &str) -> Event {
        let draft = self.room.message(&self.bot, body).unwrap();
        self.peer.seal(&self.room, &draft).unwrap()
    }

    /// Whether alice is shown an event, once she is shown one that came after it.
    async fn shows(&self, event: &Event) -> bool {
        let mut sync = Sync::start(&self.alice).await.unwrap();
        let last = self.made_by_bot("last");
        let last = self.peer.with_policy(&last, VERSION, &self.key).unwrap();
        self.peer.send(self.server, &[&last]).await.unwrap();
        sync.event_with_id(&self.room.id, &last.id).await.unwrap();
        let is_it = |seen: &Value| seen["event_id"] == *event.id;
        sync.timeline(&self.room.id).iter().any(is_it)
    }
}

#[tokio::test]
async fn an_event_is_signed_before_it_is_sent() {
    let scene = Scene::new().await;
    scene.say("hello").await.ok().unwrap();
    let asked = scene.peer.asked_to_sign();
    assert_eq!((asked.len(), &asked[0]["content"]["body"]), (1, &json!("hello")));
    let is_it = |pdu: &Value| pdu["content"]["body"] == "hello";
    let sent = scene.peer.received_pdu("the message", is_it).await.unwrap();
    let signature = &sent["signatures"][&scene.peer.name]["ed25519:policy_server"];
    assert!(signature.is_string(), "{sent}");
    assert!(sent["signatures"][scene.server.name()].is_object(), "{sent}");
    // State is asked about too, and memberships.
    scene.alice.set_state(&scene.room.id, "m.room.topic", "", json!({})).await.unwrap();
    let bob = support::user("bob").await;
    bob.join(&scene.room.id, &[]).await.unwrap();
    let kinds: Vec<_> = scene.peer.asked_to_sign();
    let kinds: Vec<&str> = kinds.iter().map(|pdu| pdu["type"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["m.room.message", "m.room.topic", "m.room.member"]);
}

#[tokio::test]
async fn what_the_policy_server_refuses_is_not_sent() {
    let scene = Scene::new().await;
    let answer = scene.say("spam").await.expect_error(400, "M_FORBIDDEN").unwrap();
    assert_eq!(answer["error"], "This looks like spam");
    let history = scene.alice.history(&scene.room.id).await.unwrap();
    assert!(history.iter().all(|event| event["content"]["body"] != "spam"));
    // It is not what the specification has policy servers say, or no answer, or no signature of it.
    let forged = Key::new().unwrap().sign("anything");
    let forged = json!({ &scene.peer.name: { "ed25519:policy_server": forged } });
    for reply in [
        Reply::error(401, "M_UNKNOWN_TOKEN"),
        Reply::error(403, "M_USER_DEACTIVATED"),
        Reply::error(500, "M_UNKNOWN"),
        Reply::ok(json!({})),
        Reply::ok(json!([1])),
        Reply::ok(forged),
        Reply::Trickle,
    ] {
        scene.peer.answer("sign", reply);
        scene.say("hello").await.expect_error(502, "M_UNKNOWN").unwrap();
    }
    scene.peer.answer("sign", Reply::error(429, "M_LIMIT_EXCEEDED"));
    scene.say("hello").await.expect_error(429, "M_LIMIT_EXCEEDED").unwrap();
    // One that is out of order is dismissed without being asked.
    let room = &scene.room.id;
    scene.alice.set_state(room, "m.room.policy", "", json!({})).await.unwrap();
    scene.say("spam").await.ok().unwrap();
}

#[tokio::test]
async fn a_signature_by_another_key_than_the_room_names_is_none() {
    let scene = Scene::new().await;
    scene.appoint(&Key::new().unwrap().public()).await;
    scene.say("hello").await.expect_error(502, "M_UNKNOWN").unwrap();
}

#[tokio::test]
async fn what_comes_unsigned_is_asked_about() {
    let scene = Scene::new().await;
    let good = scene.made_by_bot("good");
    scene.peer.send(scene.server, &[&good]).await.unwrap();
    assert_eq!(scene.peer.asked_to_sign().len(), 1);
    assert!(scene.shows(&good).await);
    let signed = scene.made_by_bot("signed");
    let signed = scene.peer.with_policy(&signed, VERSION, &scene.key).unwrap();
    scene.peer.send(scene.server, &[&signed]).await.unwrap();
    assert!(scene.shows(&signed).await);
    assert_eq!(scene.peer.asked_to_sign().len(), 1, "what is signed is not asked about");
    let bad = scene.made_by_bot("spam");
    let answer = scene.peer.send(scene.server, &[&bad]).await.unwrap();
    assert_eq!(answer["pdus"][&bad.id], json!({}), "it is taken, but not shown");
    assert!(!scene.shows(&bad).await);
    let forged = scene.peer.with_policy(&scene.made_by_bot("spam"), VERSION, &Key::new().unwrap());
    let forged = forged.unwrap();
    scene.peer.send(scene.server, &[&forged]).await.unwrap();
    assert!(!scene.shows(&forged).await);
    assert_eq!(scene.peer.asked_to_sign().len(), 3);
}

/// This server is none itself: the endpoint is that of policy servers, and optional for others.
#[tokio::test]
async fn this_server_signs_for_no_room() {
    let (server, peer) = (support::server().await, support::peer().await);
    let answer = peer.post(server, "/_matrix/policy/v1/sign", &json!({})).await.unwrap();
    answer.expect_error(404, "M_UNRECOGNIZED").unwrap();
}

#[tokio::test]
async fn one_that_is_not_in_the_room_is_not_asked() {
    let scene = Scene::new().await;
    let leave = scene.room.member(&scene.bot, &scene.bot, "leave").unwrap();
    let leave = scene.peer.seal(&scene.room, &leave).unwrap();
    scene.peer.send(scene.server, &[&leave]).await.unwrap();
    let asked = scene.peer.asked_to_sign().len();
    scene.say("spam").await.ok().unwrap();
    assert_eq!(scene.peer.asked_to_sign().len(), asked);
}
