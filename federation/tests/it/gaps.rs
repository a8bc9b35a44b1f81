//! Events whose predecessors are missing: who is asked for them, how often, and what is done when nobody
//! has them.

use std::{collections::HashMap, sync::Arc};

use ruma::{OwnedEventId, OwnedRoomId, OwnedUserId, RoomVersionId};
use serde_json::{Value, json};
use starling_engine::rooms::backfill::backfill;

use crate::{
    network::{Network, Server},
    peer::{Peer, value},
};

const VERSION: RoomVersionId = RoomVersionId::V11;
const MISSING: &str = "/_matrix/federation/v1/get_missing_events";
const STATE_IDS: &str = "/_matrix/federation/v1/state_ids";
const BACKFILL: &str = "/_matrix/federation/v1/backfill";

/// A room at home, and a chain of messages in it of which only the peer knows.
struct World {
    network: Arc<Network>,
    home: Server,
    peer: Peer,
    alice: OwnedUserId,
    room: OwnedRoomId,
    chain: Arc<Vec<(OwnedEventId, Value)>>,
    /// The IDs of the state before the chain, which does not change it.
    state: Vec<String>,
}

impl World {
    async fn new(length: usize) -> Self {
        let network = Arc::new(Network::default());
        let home = Server::new(&network, "home.org").await;
        let peer = Peer::new(&network, "peer.org").await;
        let (alice, mallory) = (home.user("alice").await, peer.user("mallory"));
        let room = home.room(&alice, VERSION, &[]).await;
        let (status, joined) = peer.join(&home, &room, &mallory, &VERSION).await;
        assert_eq!(status, 200, "{joined}");
        let state = home.state(&room).await;
        let id = |kind: &str, key: &str| state[&(kind.to_owned(), key.to_owned())].clone();
        let join = id("m.room.member", mallory.as_str());
        let auth = [id("m.room.power_levels", ""), join.clone(), id("m.room.create", "")];
        let mut depth = joined["event"]["depth"].as_i64().unwrap();
        let mut after = OwnedEventId::try_from(join).unwrap();
        let mut chain = Vec::new();
        for number in 0..length {
            depth += 1;
            let more = json!({ "content": { "msgtype": "m.text", "body": number.to_string() } });
            let event = peer.event(&mallory, &room, &[&after], depth, &auth, &more);
            let pdu = peer.sign(event, &VERSION);
            after = pdu.event_id.clone();
            chain.push((after.clone(), value(&pdu)));
        }
        let state = state.into_values().collect();
        Self { network, home, peer, alice, room, chain: Arc::new(chain), state }
    }

    /// The peer says what is before an event, from this one of the chain on.
    fn tells_of(&self, from: usize) {
        let chain = self.chain.clone();
        self.peer.answer(MISSING, move |query: &Value| {
            let latest = query["latest_events"][0].as_str().unwrap();
            let at = chain.iter().position(|(id, _)| id == latest).unwrap();
            let limit = usize::try_from(query["limit"].as_u64().unwrap()).unwrap();
            let start = at.saturating_sub(limit).max(from).min(at);
            (200, json!({ "events": events(&chain[start..at]) }))
        });
    }

    fn tells_the_state(&self) {
        let answer = json!({ "pdu_ids": self.state, "auth_chain_ids": [] });
        self.peer.answer(STATE_IDS, move |_| (200, answer.clone()));
    }

    /// A server has the history of the room, ten events at a time.
    fn remembers(&self, server: &Peer) {
        for (at, (id, _)) in self.chain.iter().enumerate() {
            let some = events(&self.chain[at.saturating_sub(9)..=at]);
            let prefix = format!("{BACKFILL}/{}?limit=10&v={id}", self.room);
            server.answer(&prefix, move |_| (200, json!({ "pdus": some })));
        }
    }

    /// The peer sends the end of the chain; gives what is said of it.
    async fn end_arrives(&self, txn: &str) -> Value {
        let (id, event) = self.chain.last().unwrap().clone();
        let (status, answer) = self.peer.transaction(&self.home, txn, &[event], &[]).await;
        assert_eq!(status, 200, "{answer}");
        answer["pdus"][id.as_str()].clone()
    }

    async fn backfill_all(&self) {
        let mut rounds = 0;
        while backfill(self.home.engine(), &self.room, 10).await.unwrap() > 0 {
            rounds += 1;
            assert!(rounds < 50, "it ends");
        }
    }

    /// Which messages of the chain are shown, oldest first by their numbers.
    async fn shown(&self) -> Vec<usize> {
        let messages = self.home.messages(&self.room).await;
        let mut numbers: Vec<usize> = messages.iter().map(|body| body.parse().unwrap()).collect();
        numbers.sort_unstable();
        numbers
    }
}

fn events(chain: &[(OwnedEventId, Value)]) -> Vec<Value> {
    chain.iter().map(|(_, event)| event.clone()).collect()
}

#[tokio::test]
async fn a_long_gap_is_filled_in_steps_and_in_order() {
    let world = World::new(91).await;
    world.tells_of(0);
    assert_eq!(world.end_arrives("t").await, json!({}));
    let expected: Vec<String> = (0..91).map(|number| number.to_string()).collect();
    assert_eq!(world.home.messages(&world.room).await, expected);
    let asked = world.peer.received(MISSING);
    assert_eq!(asked.len(), 5, "20 events at a time");
    for (_, query) in asked {
        assert_eq!(query["limit"], 20);
        assert!(!query["earliest_events"].as_array().unwrap().is_empty());
    }
    assert!(world.peer.received(STATE_IDS).is_empty());
}

#[tokio::test]
async fn a_gap_that_is_too_long_is_bridged_and_its_history_fetched_for_readers() {
    let world = World::new(151).await;
    world.tells_of(0);
    world.tells_the_state();
    world.remembers(&world.peer);
    assert_eq!(world.end_arrives("t").await, json!({}));
    assert_eq!(world.shown().await, (30..151).collect::<Vec<_>>());
    assert_eq!((world.peer.received(MISSING).len(), world.peer.received(STATE_IDS).len()), (6, 1));
    world.backfill_all().await;
    assert_eq!(world.shown().await, (0..151).collect::<Vec<_>>());
}

#[tokio::test]
async fn what_the_server_forgot_is_bridged_and_fetched_from_others() {
    let world = World::new(40).await;
    world.tells_of(25);
    world.tells_the_state();
    let third = Peer::new(&world.network, "third.org").await;
    let user = third.user("carol");
    assert_eq!(third.join(&world.home, &world.room, &user, &VERSION).await.0, 200);
    assert_eq!(world.end_arrives("t").await, json!({}));
    assert_eq!(world.shown().await, (25..40).collect::<Vec<_>>());
    // The one that is asked first fails, has nothing, or tells of something else.
    let nonsense = json!({ "pdus": [{ "type": "m.room.message" }, 7] });
    for (status, answer) in [(500, json!({})), (200, json!({ "pdus": [] })), (200, nonsense)] {
        world.network.clock.advance(60 * 60_000);
        world.peer.answer(BACKFILL, move |_| (status, answer.clone()));
        assert_eq!(backfill(world.home.engine(), &world.room, 10).await.unwrap(), 0);
    }
    assert_eq!(world.peer.received(BACKFILL).len(), 3);
    assert_eq!(third.received(BACKFILL).len(), 3);
    world.remembers(&third);
    let state = json!({ "pdu_ids": world.state, "auth_chain_ids": [] });
    third.answer(STATE_IDS, move |_| (200, state.clone()));
    world.network.clock.advance(60 * 60_000);
    world.backfill_all().await;
    assert_eq!(world.shown().await, (0..40).collect::<Vec<_>>());
}

#[tokio::test]
async fn an_event_whose_place_nobody_tells_is_taken_when_somebody_does() {
    let world = World::new(3).await;
    let refused = world.end_arrives("early").await;
    assert!(refused["error"].is_string(), "{refused}");
    assert!(world.shown().await.is_empty());
    // Answers that are none are as good as no answer.
    let nothing = json!({ "pdu_ids": [], "auth_chain_ids": [] });
    for (txn, answer) in [("a", json!({})), ("b", json!([])), ("c", nothing)] {
        world.peer.answer(STATE_IDS, move |_| (200, answer.clone()));
        let refused = world.end_arrives(txn).await;
        assert!(refused["error"].is_string(), "{refused}");
    }
    world.tells_the_state();
    assert_eq!(world.end_arrives("late").await, json!({}));
    assert_eq!(world.shown().await, [2]);
    world.home.say(&world.room, &world.alice, "3").await;
    assert_eq!(world.shown().await, [2, 3]);
}

#[tokio::test]
async fn more_than_was_asked_for_is_not_looked_at() {
    let world = World::new(80).await;
    let all = events(&world.chain[..79]);
    world.peer.answer(MISSING, move |_| (200, json!({ "events": all })));
    world.tells_the_state();
    assert_eq!(world.end_arrives("t").await, json!({}));
    // The first twenty, and no others until somebody reads.
    assert_eq!(world.shown().await, (0..20).chain([79]).collect::<Vec<_>>());
    assert_eq!(world.peer.received(MISSING).len(), 2);
}

/// Members of the peer's server of whom only its account of the state tells; their events by their IDs.
async fn unknown_members(world: &World, count: usize) -> HashMap<OwnedEventId, Value> {
    let state = world.home.state(&world.room).await;
    let id = |kind: &str| state[&(kind.to_owned(), String::new())].clone();
    let auth = ["m.room.create", "m.room.power_levels", "m.room.join_rules"].map(id);
    let before = OwnedEventId::try_from(auth[2].clone()).unwrap();
    let members: HashMap<OwnedEventId, Value> = (0..count)
        .map(|number| {
            let user = world.peer.user(&format!("member{number}"));
            let more = json!({
                "type": "m.room.member", "state_key": user, "content": { "membership": "join" },
            });
            let event = world.peer.event(&user, &world.room, &[&before], 7, &auth, &more);
            let pdu = world.peer.sign(event, &VERSION);
            (pdu.event_id.clone(), value(&pdu))
        })
        .collect();
    let ids = members.keys().map(ToString::to_string).chain(world.state.clone());
    let answer = json!({ "pdu_ids": ids.collect::<Vec<_>>(), "auth_chain_ids": [] });
    world.peer.answer(STATE_IDS, move |_| (200, answer.clone()));
    members
}

/// The peer tells whole states.
fn tell_state(world: &World, members: &HashMap<OwnedEventId, Value>) {
    let answer = json!({ "pdus": members.values().collect::<Vec<_>>(), "auth_chain": [] });
    world.peer.answer("/_matrix/federation/v1/state/", move |_| (200, answer.clone()));
}

async fn count_members(world: &World) -> usize {
    let state = world.home.state(&world.room).await;
    state.keys().filter(|(kind, _)| kind == "m.room.member").count()
}

#[tokio::test]
async fn a_state_of_which_much_is_missing_comes_as_a_whole() {
    let world = World::new(2).await;
    let members = unknown_members(&world, 15).await;
    tell_state(&world, &members);
    assert_eq!(world.end_arrives("t").await, json!({}));
    assert_eq!(count_members(&world).await, 2 + 15);
    // The event before is asked for, and no member.
    let asked = world.peer.received("/_matrix/federation/v1/event/");
    let is_member = |path: &str| members.keys().any(|id| path.contains(id.as_str()));
    assert!(!asked.iter().any(|(path, _)| is_member(path)), "{asked:?}");
}

#[tokio::test]
async fn a_state_is_not_taken_without_the_events_that_were_not_given_one_by_one() {
    let world = World::new(2).await;
    let members = unknown_members(&world, 3).await;
    // The peer gives none of the three by itself, and no state: what it says is no state of the room.
    let refused = world.end_arrives("early").await;
    assert!(refused["error"].is_string(), "{refused}");
    tell_state(&world, &members);
    assert_eq!(world.end_arrives("late").await, json!({}));
    assert_eq!(count_members(&world).await, 2 + 3);
}
