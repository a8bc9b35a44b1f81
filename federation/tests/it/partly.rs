//! Rooms that are known in part, where the world is not kind: the room was closed meanwhile, it is left
//! again, nobody answers.

use std::sync::Arc;

use bytes::Bytes;
use http::{Response, StatusCode};
use ruma::{EventId, OwnedEventId, OwnedRoomId, OwnedUserId, RoomVersionId};
use serde_json::{Map, Value, json};
use starling_engine::{
    events::{Pdu, store},
    rooms::{
        completing,
        membership::{
            content::Member,
            invite::{Invite, invite},
            join::{Join, join},
            leave::leave,
        },
        partial,
    },
};

use crate::{
    network::{self, Network, Server},
    peer::{Peer, value},
};

const VERSION: RoomVersionId = RoomVersionId::V11;

/// Bob of `b.org` is to join a room of Alice's on `a.org`, in which Mallory of `peer.org` is too.
struct World {
    network: Arc<Network>,
    a: Server,
    b: Server,
    peer: Peer,
    alice: OwnedUserId,
    bob: OwnedUserId,
    mallory: OwnedUserId,
    room: OwnedRoomId,
}

impl World {
    async fn new() -> Self {
        let network = Arc::new(Network::default());
        let a = Server::new(&network, "a.org").await;
        let b = Server::new(&network, "b.org").await;
        let peer = Peer::new(&network, "peer.org").await;
        let (alice, bob) = (a.user("alice").await, b.user("bob").await);
        let mallory = peer.user("mallory");
        peer.answer("/_matrix/federation/v1/send/", |_| (200, json!({ "pdus": {} })));
        let room = a.room(&alice, VERSION, &[]).await;
        assert_eq!(peer.join(&a, &room, &mallory, &VERSION).await.0, 200);
        Self { network, a, b, peer, alice, bob, mallory, room }
    }

    /// `a.org` answers no question about states and events.
    fn silence(&self) {
        let router = self.a.router();
        self.network.serve("a.org", move |request| {
            let path = request.uri().path();
            let asks = ["state/", "state_ids/", "event/"];
            if asks.iter().any(|it| path.starts_with(&format!("/_matrix/federation/v1/{it}"))) {
                let answer = Response::builder().status(StatusCode::SERVICE_UNAVAILABLE);
                return Box::pin(async { answer.body(Bytes::new()).unwrap() });
            }
            Box::pin(network::ask(router.clone(), request))
        });
    }

    async fn join(&self) {
        let (user_id, room_id, via) = (&*self.bob, &*self.room, vec![self.a.name().to_owned()]);
        let wanted = Join { user_id, room_id, via, reason: None, more: Map::new() };
        join(self.b.engine(), wanted).await.unwrap();
    }

    async fn is_partial(&self) -> bool {
        partial::is_partial(self.b.engine(), &self.room).await.unwrap()
    }

    async fn own_join(&self) -> OwnedEventId {
        let key = ("m.room.member".to_owned(), self.bob.to_string());
        self.b.state(&self.room).await[&key].clone().try_into().unwrap()
    }

    async fn event(&self, id: &str) -> Arc<Pdu> {
        let id = <&EventId>::try_from(id).unwrap();
        let event = store::get(self.a.engine(), &self.room, id).await;
        event.unwrap().unwrap().pdu.clone()
    }

    /// Mallory says something to `b.org`, after Bob's join.
    async fn speak(&self, txn: &str) -> Value {
        let state = self.a.state(&self.room).await;
        let id = |kind: &str, key: &str| state[&(kind.to_owned(), key.to_owned())].clone();
        let member = id("m.room.member", self.mallory.as_str());
        let auth = [id("m.room.create", ""), id("m.room.power_levels", ""), member.clone()];
        let member = self.event(&member).await;
        let mut chain = vec![value(&member)];
        for id in &member.auth_events {
            chain.push(value(&*self.event(id.as_str()).await));
        }
        let answer = json!({ "auth_chain": chain });
        self.peer.answer("/_matrix/federation/v1/event_auth/", move |_| (200, answer.clone()));
        let after = self.own_join().await;
        let event = self.peer.event(&self.mallory, &self.room, &[&after], 100, &auth, &json!({}));
        let event = value(&self.peer.sign(event, &VERSION));
        let (status, answer) = self.peer.transaction(&self.b, txn, &[event], &[]).await;
        assert_eq!(status, 200, "{answer}");
        answer
    }

    /// Waits until both servers have the same state.
    async fn agree(&self) {
        let agreed = async || self.a.state(&self.room).await == self.b.state(&self.room).await;
        self.b.until("agreement", agreed).await;
    }
}

#[tokio::test]
async fn who_came_while_the_room_was_open_is_heard_after_it_was_closed() {
    let world = World::new().await;
    // Mallory's join names the rule by which she came; it is no longer in the state.
    let rule = json!({ "join_rule": "invite" });
    world.a.set(&world.room, &world.alice, "m.room.join_rules", rule).await;
    let (room_id, sender, target) = (&*world.room, &*world.alice, &*world.bob);
    let wanted = Invite { room_id, sender, target, member: Member::default() };
    invite(world.a.engine(), wanted).await.unwrap();
    world.silence();
    world.join().await;
    world.speak("t").await;
    assert!(world.is_partial().await);
    assert_eq!(world.b.messages(&world.room).await, ["100"]);
    world.a.plug();
    while !completing::round_now(world.b.engine(), 0).await.unwrap() {}
    assert_eq!(world.b.messages(&world.room).await, ["100"]);
}

#[tokio::test]
async fn an_older_state_is_not_taken_for_that_of_a_new_join() {
    let world = World::new().await;
    world.join().await;
    world.b.until_whole(&world.room).await;
    world.agree().await;
    leave(world.b.engine(), &world.bob, &world.room, None).await.unwrap();
    let left = async || {
        let now = world.a.membership(world.room.as_str(), world.bob.as_str()).await;
        now.as_deref() == Some("leave")
    };
    world.a.until("the leave", left).await;
    // The leave and what is said at the same time are what the new join follows.
    let topic = json!({ "topic": "later" });
    world.a.set(&world.room, &world.alice, "m.room.topic", topic).await;
    world.silence();
    world.join().await;
    assert!(!completing::round_now(world.b.engine(), 0).await.unwrap());
    assert!(world.is_partial().await, "nobody told the state before the join");
    world.a.plug();
    while !completing::round_now(world.b.engine(), 0).await.unwrap() {}
    world.agree().await;
}

#[tokio::test]
async fn a_part_of_a_state_is_told_to_nobody_also_when_the_room_was_left() {
    let world = World::new().await;
    world.silence();
    world.join().await;
    world.speak("t").await;
    let own_join = world.own_join().await;
    leave(world.b.engine(), &world.bob, &world.room, None).await.unwrap();
    while !completing::round_now(world.b.engine(), 0).await.unwrap() {}
    assert!(!world.is_partial().await, "nobody asks any more");
    let path = format!("/_matrix/federation/v1/state_ids/{}?event_id={own_join}", world.room);
    let (status, answer) = world.peer.get(&world.b, &path).await;
    assert_eq!((status, &answer["errcode"]), (404, &json!("M_NOT_FOUND")), "{answer}");
}

#[tokio::test]
async fn the_present_state_from_before_our_join_is_given_by_itself() {
    let world = World::new().await;
    world.join().await;
    world.b.until_whole(&world.room).await;
    let state = world.b.state(&world.room).await;
    let name = &state[&("m.room.name".to_owned(), String::new())];
    let path = format!("/_matrix/federation/v1/event/{name}");
    let (status, answer) = world.peer.get(&world.b, &path).await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(answer["pdus"][0]["content"]["name"], "Room");
}
