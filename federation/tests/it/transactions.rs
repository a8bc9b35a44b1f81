//! `PUT /send`: events and ephemeral messages of other servers.

use std::sync::Arc;

use ruma::{EventId, OwnedEventId, OwnedRoomId, OwnedUserId, RoomVersionId};
use serde_json::{Value, json};
use starling_engine::{allowance::Allowance, rooms::receive::transaction};
use starling_federation::Options;

use crate::{
    network::{Network, Server},
    peer::{Peer, value},
};

/// A room at home that a user of the peer is in, and what the peer's events build upon.
struct World {
    network: Arc<Network>,
    home: Server,
    peer: Peer,
    alice: OwnedUserId,
    mallory: OwnedUserId,
    room: OwnedRoomId,
    version: RoomVersionId,
    auth: Vec<String>,
    join: OwnedEventId,
    depth: i64,
}

impl World {
    async fn new(version: RoomVersionId) -> Self {
        let network = Arc::new(Network::default());
        let home = Server::new(&network, "home.org").await;
        let peer = Peer::new(&network, "peer.org").await;
        let (alice, mallory) = (home.user("alice").await, peer.user("mallory"));
        let room = home.room(&alice, version.clone(), &[]).await;
        let (status, joined) = peer.join(&home, &room, &mallory, &version).await;
        assert_eq!(status, 200, "{joined}");
        let state = home.state(&room).await;
        let id = |kind: &str, key: &str| state[&(kind.to_owned(), key.to_owned())].clone();
        let mut auth = vec![id("m.room.power_levels", ""), id("m.room.member", mallory.as_str())];
        if version != RoomVersionId::V12 {
            auth.push(id("m.room.create", ""));
        }
        let join = id("m.room.member", mallory.as_str()).try_into().unwrap();
        let depth = joined["event"]["depth"].as_i64().unwrap();
        Self { network, home, peer, alice, mallory, room, version, auth, join, depth }
    }

    /// An event of the peer's user.
    fn event(&self, after: &EventId, step: i64, more: &Value) -> Value {
        let depth = self.depth + step;
        self.peer.event(&self.mallory, &self.room, &[after], depth, &self.auth, more)
    }

    fn says(&self, after: &EventId, step: i64, body: &str) -> (OwnedEventId, Value) {
        let event = self.event(after, step, &json!({ "content": { "body": body } }));
        let pdu = self.peer.sign(event, &self.version);
        (pdu.event_id.clone(), value(&pdu))
    }
}

#[tokio::test]
async fn one_bad_event_does_not_spoil_the_others() {
    for version in [RoomVersionId::V6, RoomVersionId::V11, RoomVersionId::V12] {
        let world = World::new(version.clone()).await;
        let (first, a) = world.says(&world.join, 1, "A");
        let good = world.event(&first, 2, &json!({}));
        let signed = value(&world.peer.sign(good.clone(), &version));
        let with = |field: &str, value: Value| {
            let mut event = signed.clone();
            event[field] = value;
            event
        };
        let resigned = |field: &str, value: Value| {
            let mut event = good.clone();
            event[field] = value;
            crate::peer::value(&world.peer.sign(event, &version))
        };
        let mut without_type = signed.clone();
        without_type.as_object_mut().unwrap().remove("type");
        let bad = vec![
            without_type,
            with("depth", json!(-1)),
            with("depth", json!("5")),
            with("depth", json!(9_223_372_036_854_775_807_i64)),
            with("content", json!({ "x": 1.5 })),
            with("content", json!({ "x": 9_007_199_254_740_992_i64 })),
            with("prev_events", json!(vec!["$x"; 21])),
            with("auth_events", json!(vec!["$x"; 11])),
            with("sender", json!("@alice:home.org")),
            with("signatures", json!({})),
            with("room_id", json!("!unknown:home.org")),
            with("room_id", json!(7)),
            resigned("auth_events", json!([])),
            resigned("auth_events", json!(["$unknown"])),
            resigned("type", json!("m.room.power_levels")),
            json!([]),
            json!(null),
            json!("event"),
        ];
        let (_, c) = world.says(&first, 2, "C");
        let mut pdus = vec![a];
        pdus.extend(bad);
        pdus.push(c);
        let (status, answer) = world.peer.transaction(&world.home, "t1", &pdus, &[]).await;
        assert_eq!(status, 200, "{version}: {answer}");
        let results = answer["pdus"].as_object().unwrap();
        let refused = results.values().filter(|it| it["error"].is_string()).count();
        assert!(refused > 5 && results[first.as_str()] == json!({}), "{answer}");
        assert_eq!(world.home.messages(&world.room).await, ["A", "C"], "{version}");
    }
}

#[tokio::test]
async fn a_transaction_is_worked_on_once() {
    let world = World::new(RoomVersionId::V12).await;
    let (_, a) = world.says(&world.join, 1, "A");
    let first = world.peer.transaction(&world.home, "t1", std::slice::from_ref(&a), &[]).await;
    let again = world.peer.transaction(&world.home, "t1", &[], &[]).await;
    assert_eq!(first, again, "the stored answer");
    let other = world.peer.transaction(&world.home, "t2", &[a], &[]).await;
    assert_eq!(other, first, "known events are fine");
    transaction::forget_old(world.home.engine()).await.unwrap();
    assert_eq!(world.peer.transaction(&world.home, "t1", &[], &[]).await, first);
    world.network.clock.advance(8 * 24 * 60 * 60 * 1000);
    transaction::forget_old(world.home.engine()).await.unwrap();
    let forgotten = world.peer.transaction(&world.home, "t1", &[], &[]).await;
    assert_eq!(forgotten, (200, json!({ "pdus": {} })));
    assert_eq!(world.home.messages(&world.room).await, ["A"]);
}

#[tokio::test]
async fn a_chain_of_fifty_events_arrives_in_any_order() {
    for shuffled in [false, true] {
        let world = World::new(RoomVersionId::V11).await;
        let (mut after, mut chain) = (world.join.clone(), Vec::new());
        for step in 0..50 {
            let (event_id, event) = world.says(&after, step + 1, &step.to_string());
            chain.push(event);
            after = event_id;
        }
        let all = chain.clone();
        world.peer.answer("/_matrix/federation/v1/get_missing_events", move |body| {
            (200, json!({ "events": before(&all, body) }))
        });
        if shuffled {
            chain.reverse();
        }
        let (status, answer) = world.peer.transaction(&world.home, "t", &chain, &[]).await;
        assert_eq!(status, 200);
        let fine = answer["pdus"].as_object().unwrap().values().all(|it| *it == json!({}));
        assert!(fine, "{answer}");
        let mut messages = world.home.messages(&world.room).await;
        if !shuffled {
            assert!(world.peer.received("/_matrix/federation/v1/get_missing").is_empty());
        } else {
            messages.sort_by_key(|body| body.parse::<u32>().unwrap());
        }
        assert_eq!(messages, (0..50).map(|step| step.to_string()).collect::<Vec<_>>());
    }
}

/// What a server that has this chain answers to `get_missing_events`.
fn before(chain: &[Value], query: &Value) -> Vec<Value> {
    let latest = query["latest_events"][0].as_str().unwrap();
    let is_latest = |event: &Value| {
        let raw = serde_json::value::to_raw_value(event).unwrap();
        let rules = starling_engine::rooms::versions::rules(&RoomVersionId::V11).unwrap();
        starling_engine::events::Pdu::from_json(raw.get(), &rules).unwrap().event_id == latest
    };
    let at = chain.iter().position(is_latest).unwrap_or(0);
    let limit = usize::try_from(query["limit"].as_u64().unwrap()).unwrap();
    chain[at.saturating_sub(limit)..at].to_vec()
}

#[tokio::test]
async fn a_gap_is_filled_by_events() {
    let world = World::new(RoomVersionId::V12).await;
    let (second, missing) = world.says(&world.join, 1, "missing");
    let (last_id, last) = world.says(&second, 2, "last");
    let answer = json!({ "events": [missing] });
    world.peer.answer("/_matrix/federation/v1/get_missing_events", move |_| (200, answer.clone()));
    let (status, answer) = world.peer.transaction(&world.home, "t", &[last], &[]).await;
    assert_eq!(status, 200);
    // What filled the gap was not sent, so nothing is said of it.
    assert_eq!(answer["pdus"], json!({ (last_id.as_str()): {} }));
    assert_eq!(world.home.messages(&world.room).await, ["missing", "last"]);
}

#[tokio::test]
async fn a_gap_is_bridged_by_the_state_before_the_event() {
    let world = World::new(RoomVersionId::V11).await;
    let before = world.home.state(&world.room).await;
    let (second, _) = world.says(&world.join, 1, "lost");
    let (_, last) = world.says(&second, 2, "last");
    let ids: Vec<String> = before.values().cloned().collect();
    let answer = json!({ "pdu_ids": ids, "auth_chain_ids": [] });
    world.peer.answer("/_matrix/federation/v1/state_ids", move |_| (200, answer.clone()));
    let (status, answer) = world.peer.transaction(&world.home, "t", &[last], &[]).await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(world.home.messages(&world.room).await, ["last"]);
    assert_eq!(world.home.state(&world.room).await, before);
}

/// The events that authorise a state lead back to what was known, but the state does not follow from
/// it: both are merged.
#[tokio::test]
async fn what_is_behind_a_gap_is_merged_with_what_was_known() {
    let world = World::new(RoomVersionId::V12).await;
    let before = world.home.state(&world.room).await;
    let topic = json!({ "topic": "known" });
    let topic = world.home.set(&world.room, &world.alice, "m.room.topic", topic).await;
    let rules = &before[&("m.room.join_rules".to_owned(), String::new())];
    let mut after = topic.clone();
    let mut chain = Vec::new();
    for step in 1..=3 {
        let member = chain.last().map_or(&world.join, |(id, _): &(OwnedEventId, Value)| id);
        let auth = [&world.auth[0], rules, &member.to_string()];
        let more = json!({
            "type": "m.room.member", "state_key": world.mallory, "auth_events": auth,
            "content": { "membership": "join", "displayname": step.to_string() },
        });
        let pdu = world.peer.sign(world.event(&after, step + 1, &more), &world.version);
        after = pdu.event_id.clone();
        chain.push((after.clone(), value(&pdu)));
    }
    let (_, last) = world.says(&after, 5, "last");
    let mut claimed = before.clone();
    let member = ("m.room.member".to_owned(), world.mallory.to_string());
    claimed.insert(member, after.to_string());
    let ids: Vec<&String> = claimed.values().collect();
    let auth: Vec<&str> = chain.iter().map(|(id, _)| id.as_str()).collect();
    let answer = json!({ "pdu_ids": ids, "auth_chain_ids": auth });
    world.peer.answer("/_matrix/federation/v1/state_ids", move |_| (200, answer.clone()));
    for (id, event) in chain {
        let answer = json!({ "pdus": [event] });
        let path = format!("/_matrix/federation/v1/event/{id}");
        world.peer.answer(&path, move |_| (200, answer.clone()));
    }
    let (status, answer) = world.peer.transaction(&world.home, "t", &[last], &[]).await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(world.home.messages(&world.room).await, ["last"]);
    let state = world.home.state(&world.room).await;
    assert_eq!(state[&("m.room.topic".to_owned(), String::new())], topic.as_str());
}

/// A chain of memberships of which one is not to be had: what builds upon it has no place in the state,
/// although the server that tells of it says so.
#[tokio::test]
async fn what_is_authorised_by_an_event_that_nobody_has_stays_out_of_the_state() {
    for version in [RoomVersionId::V6, RoomVersionId::V10, RoomVersionId::V12] {
        let world = World::new(version).await;
        let before = world.home.state(&world.room).await;
        let rules = &before[&("m.room.join_rules".to_owned(), String::new())];
        let mut chain: Vec<(OwnedEventId, Value)> = Vec::new();
        for name in ["A", "B", "C", "D", "E"] {
            let member = chain.last().map_or(&world.join, |(id, _)| id).clone();
            let mut auth = world.auth.clone();
            auth[1] = member.to_string();
            auth.push(rules.clone());
            let more = json!({
                "type": "m.room.member", "state_key": world.mallory, "auth_events": auth,
                "content": { "membership": "join", "displayname": name },
            });
            let step = i64::try_from(chain.len()).unwrap() + 1;
            let pdu = world.peer.sign(world.event(&member, step, &more), &world.version);
            chain.push((pdu.event_id.clone(), value(&pdu)));
        }
        let newest = chain.last().unwrap().0.clone();
        let more = |body: &str| {
            let mut auth = world.auth.clone();
            auth[1] = newest.to_string();
            json!({ "auth_events": auth, "content": { "body": body } })
        };
        let sign = |event: Value| world.peer.sign(event, &world.version);
        let lost = sign(world.event(&newest, 6, &more("never told")));
        let told = sign(world.event(&lost.event_id, 7, &more("told")));
        let last = sign(world.event(&told.event_id, 8, &more("last")));
        let events = json!({ "events": [value(&told)] });
        let gap = "/_matrix/federation/v1/get_missing_events";
        world.peer.answer(gap, move |_| (200, events.clone()));
        let mut claimed = before.clone();
        let member = ("m.room.member".to_owned(), world.mallory.to_string());
        claimed.insert(member, newest.to_string());
        let ids: Vec<&String> = claimed.values().collect();
        let auth: Vec<&str> = chain.iter().map(|(id, _)| id.as_str()).collect();
        let answer = json!({ "pdu_ids": ids, "auth_chain_ids": auth });
        let states = "/_matrix/federation/v1/state_ids";
        world.peer.answer(states, move |_| (200, answer.clone()));
        let (unknown, _) = chain.remove(1);
        let path = |id: &OwnedEventId| format!("/_matrix/federation/v1/event/{id}");
        world.peer.answer(&path(&unknown), |_| (404, json!({ "errcode": "M_NOT_FOUND" })));
        for (id, event) in chain {
            let answer = json!({ "pdus": [event] });
            world.peer.answer(&path(&id), move |_| (200, answer.clone()));
        }
        let (status, answer) = world.peer.transaction(&world.home, "1", &[value(&last)], &[]).await;
        assert_eq!(status, 200);
        // It says what became of the event: nothing.
        assert!(answer["pdus"][last.event_id.as_str()]["error"].is_string(), "{answer}");
        assert_eq!(world.home.state(&world.room).await, before);
        // The same is not asked for again and again.
        let asked = world.peer.received(gap).len() + world.peer.received(states).len();
        assert!(asked <= 5, "{asked} questions");

        // What builds upon the known is still welcome, and the room lives on.
        let (_, valid) = world.says(&world.join, 1, "valid");
        let (status, answer) = world.peer.transaction(&world.home, "2", &[valid], &[]).await;
        assert_eq!(status, 200, "{answer}");
        world.home.say(&world.room, &world.alice, "still here").await;
        assert_eq!(world.home.messages(&world.room).await, ["valid", "still here"]);
        assert_eq!(world.home.state(&world.room).await, before);
    }
}

#[tokio::test]
async fn a_lie_about_the_state_changes_nothing() {
    let world = World::new(RoomVersionId::V11).await;
    let before = world.home.state(&world.room).await;
    let id = |kind: &str| before[&(kind.to_owned(), String::new())].clone();
    let member = before[&("m.room.member".to_owned(), world.mallory.to_string())].clone();
    // No power levels, no other members: by this state anybody may do anything.
    for (txn, ids) in [
        ("some", vec![id("m.room.create"), id("m.room.join_rules"), member.clone()]),
        ("none", vec![]),
        ("no create", vec![member]),
    ] {
        let answer = json!({ "pdu_ids": ids, "auth_chain_ids": [] });
        world.peer.answer("/_matrix/federation/v1/state_ids", move |_| (200, answer.clone()));
        let (lost, _) = world.says(&world.join, 1, txn);
        let takeover = json!({
            "type": "m.room.power_levels", "state_key": "",
            "content": { "users": { (world.mallory.as_str()): 100 } },
        });
        let takeover = world.event(&lost, 2, &takeover);
        let takeover = value(&world.peer.sign(takeover, &world.version));
        let (status, _) = world
            .peer
            .transaction(&world.home, txn.split(' ').next().unwrap(), &[takeover], &[])
            .await;
        assert_eq!(status, 200);
        assert_eq!(world.home.state(&world.room).await, before, "{txn}");
    }
    // The room lives on.
    world.home.say(&world.room, &world.alice, "still here").await;
}

#[tokio::test]
async fn what_cites_a_rejected_event_is_rejected() {
    let world = World::new(RoomVersionId::V11).await;
    let before = world.home.state(&world.room).await;
    let open = json!({
        "type": "m.room.history_visibility", "state_key": "",
        "content": { "history_visibility": "world_readable" },
    });
    let rejected = world.peer.sign(world.event(&world.join, 1, &open), &world.version);
    let (_, follows) = world.says(&rejected.event_id, 2, "follows");
    let mut auth = world.auth.clone();
    auth.push(rejected.event_id.to_string());
    let cites = world.event(
        &world.join,
        2,
        &json!({ "auth_events": auth, "content": { "body": "cites" } }),
    );
    let cites = world.peer.sign(cites, &world.version);
    let pdus = [value(&rejected), follows, value(&cites)];
    let (status, answer) = world.peer.transaction(&world.home, "t", &pdus, &[]).await;
    assert_eq!(status, 200);
    // They are dealt with.
    assert_eq!(answer["pdus"][rejected.event_id.as_str()], json!({}));
    assert_eq!(answer["pdus"][cites.event_id.as_str()], json!({}));
    assert_eq!(world.home.messages(&world.room).await, ["follows"]);
    assert_eq!(world.home.state(&world.room).await, before);
}

#[tokio::test]
async fn a_wrong_hash_leaves_the_redacted_event() {
    let world = World::new(RoomVersionId::V11).await;
    let (event_id, mut event) = world.says(&world.join, 1, "hidden");
    event["content"]["body"] = json!("changed on the way");
    let (status, answer) = world.peer.transaction(&world.home, "t", &[event], &[]).await;
    assert_eq!((status, &answer["pdus"][event_id.as_str()]), (200, &json!({})));
    let path = format!("/_matrix/federation/v1/event/{event_id}");
    let (status, answer) = world.peer.get(&world.home, &path).await;
    assert_eq!((status, &answer["pdus"][0]["content"]), (200, &json!({})));
}

#[tokio::test]
async fn a_server_that_is_kept_out_sends_nothing() {
    let world = World::new(RoomVersionId::V11).await;
    let acl = json!({ "allow": ["*"], "deny": ["PEER.*"] });
    world.home.set(&world.room, &world.alice, "m.room.server_acl", acl).await;
    let (event_id, event) = world.says(&world.join, 1, "no");
    let (status, answer) = world.peer.transaction(&world.home, "t", &[event], &[]).await;
    assert_eq!(status, 200);
    assert!(answer["pdus"][event_id.as_str()]["error"].is_string());
    assert!(world.home.messages(&world.room).await.is_empty());
    let room = &world.room;
    let mallory = &world.mallory;
    for path in [
        format!("/_matrix/federation/v1/state/{room}?event_id={}", world.join),
        format!("/_matrix/federation/v1/backfill/{room}?v={}&limit=1", world.join),
        format!("/_matrix/federation/v1/make_join/{room}/{mallory}?ver=11"),
        format!("/_matrix/federation/v1/make_leave/{room}/{mallory}"),
    ] {
        assert_eq!(world.peer.get(&world.home, &path).await.0, 403, "{path}");
    }
}

#[tokio::test]
async fn only_own_users_type() {
    let world = World::new(RoomVersionId::V11).await;
    let typing = |user: &str| {
        let content = json!({ "room_id": world.room, "user_id": user, "typing": true });
        json!({ "edu_type": "m.typing", "content": content })
    };
    let stranger = world.peer.user("stranger");
    let edus = [
        typing(world.alice.as_str()),
        typing(stranger.as_str()),
        json!({ "edu_type": "m.typing", "content": 7 }),
        json!([]),
        typing(world.mallory.as_str()),
    ];
    let (status, _) = world.peer.transaction(&world.home, "t", &[], &edus).await;
    assert_eq!(status, 200);
    let now = world.home.engine().typing.changed(&world.room, 0, u64::MAX).unwrap();
    assert_eq!(now, std::slice::from_ref(&world.mallory));
}

#[tokio::test]
async fn too_much_and_somebody_elses_is_refused() {
    let world = World::new(RoomVersionId::V11).await;
    let many = vec![json!({}); 51];
    assert_eq!(world.peer.transaction(&world.home, "t", &many, &[]).await.0, 400);
    let many = vec![json!({}); 101];
    assert_eq!(world.peer.transaction(&world.home, "t", &[], &many).await.0, 400);
    let third = Peer::new(&world.network, "third.org").await;
    let body = json!({ "origin": "peer.org", "origin_server_ts": 1, "pdus": [] });
    let (status, _) = third.put(&world.home, "/_matrix/federation/v1/send/x", &body).await;
    assert_eq!(status, 403);
}

#[tokio::test]
async fn a_server_that_asks_too_much_has_to_wait() {
    let world = World::new(RoomVersionId::V11).await;
    let requests = Some(Allowance::new(3, 1));
    world.home.limit(Options { requests, ..Options::default() });
    let ask = async |txn: &str| world.peer.transaction(&world.home, txn, &[], &[]).await;
    for txn in ["a", "b", "c"] {
        assert_eq!(ask(txn).await.0, 200);
    }
    let (status, answer) = ask("d").await;
    assert_eq!((status, &answer["errcode"]), (429, &json!("M_LIMIT_EXCEEDED")), "{answer}");
    assert!(answer["retry_after_ms"].as_u64().is_some_and(|ms| (1..=1000).contains(&ms)));
    let third = Peer::new(&world.network, "third.org").await;
    assert_eq!(third.transaction(&world.home, "a", &[], &[]).await.0, 200);
    world.network.clock.advance(1_000);
    assert_eq!(ask("d").await.0, 200);
    assert_eq!(ask("e").await.0, 429);
}
