//! What other homeservers got wrong, where it is nobody's attack. `conformance/hostile/index.tsv` says
//! which case is tested where; those that belong to one endpoint are tested with it.

use std::{collections::BTreeSet, time::Duration};

use http::Method;
use serde_json::{Value, json};
use starling_conformance::{
    client::{Sync, User, path},
    evil::{Event, Received, Reply},
};

use crate::{
    client::{
        keys::{device_keys, upload},
        sync::connection::{Connection, SIMPLIFIED, all},
    },
    scene::Scene,
    support,
};

const SYNC: &str = "/_matrix/client/v3/sync";

fn ids(events: &Value) -> Vec<String> {
    let events = events.as_array().map(Vec::as_slice).unwrap_or_default();
    events.iter().map(|event| event["event_id"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn fifty_events_in_any_order_and_in_two_transactions_at_once_all_arrive() {
    for version in ["11", "12"] {
        let mut scene = Scene::set(version).await;
        let mut chain: Vec<Event> = Vec::new();
        for number in 0..100 {
            let draft = scene.room.message(&scene.mallory, &number.to_string()).unwrap();
            chain.push(scene.peer.put_in(&scene.room, &draft).unwrap());
        }
        let (first, second) = chain.split_at(50);
        let mut shuffled: Vec<&Event> = first.iter().collect();
        shuffled.reverse();
        shuffled.swap(3, 40);
        scene.deliver(&shuffled).await;
        let halves: Vec<Vec<&Event>> =
            [0, 1].map(|odd| second.iter().skip(odd).step_by(2).collect()).into();
        tokio::join!(scene.deliver(&halves[0]), scene.deliver(&halves[1]));
        for event in &chain {
            scene.sees(event).await;
        }
        let history = scene.alice.history(&scene.room.id).await.unwrap();
        for event in &chain {
            let times = history.iter().filter(|shown| shown["event_id"] == *event.id).count();
            assert_eq!(times, 1, "version {version}: {}", event.pdu["content"]["body"]);
        }
        scene.goes_on_without(&[]).await;
    }
}

/// Who made a room acts in it after it was replaced, and other servers find its events as they were.
#[tokio::test]
async fn an_upgrade_leaves_the_old_room_as_it_was() {
    let scene = Scene::set("10").await;
    let (alice, room) = (&scene.alice, scene.room.id.as_str());
    let bob = support::user("bob").await;
    let power = alice.api.get(&path("/_matrix/client/v3/rooms/{}/state", &[room])).await.unwrap();
    let power = power.ok().unwrap();
    let power =
        power.as_array().unwrap().iter().find(|event| event["type"] == "m.room.power_levels");
    let id = power.unwrap()["event_id"].as_str().unwrap().to_owned();
    let target = path("/_matrix/federation/v1/event/{}", &[&id]);
    let before = scene.peer.get(scene.server, &target).await.unwrap().ok().unwrap()["pdus"].clone();
    let body = json!({ "new_version": "12", "additional_creators": [bob.id] });
    let upgrade = path("/_matrix/client/v3/rooms/{}/upgrade", &[room]);
    let answer = alice.api.post(&upgrade, body).await.unwrap().ok().unwrap();
    let new = answer["replacement_room"].as_str().unwrap();
    let after = scene.peer.get(scene.server, &target).await.unwrap().ok().unwrap()["pdus"].clone();
    assert_eq!(before, after);
    scene.peer.verify(scene.server, "10", &after[0]).await.unwrap();
    // The one who locked it can still name it, and the new one is theirs.
    alice.set_state(room, "m.room.name", "", json!({ "name": "the old one" })).await.unwrap();
    alice.set_state(new, "m.room.name", "", json!({ "name": "the new one" })).await.unwrap();
    alice.invite(new, &bob.id).await.unwrap();
    bob.join(new, &[]).await.unwrap();
    bob.set_state(new, "m.room.topic", "", json!({ "topic": "a creator's" })).await.unwrap();
    let latest =
        scene.peer.received_pdu("the name", |pdu| pdu["type"] == "m.room.name").await.unwrap();
    scene.peer.verify(scene.server, "10", &latest).await.unwrap();
    // A guess at a version that is not known is made nowhere.
    for version in ["13", "org.example.unknown", ""] {
        let options = json!({ "room_version": version });
        let answer = alice.api.post("/_matrix/client/v3/createRoom", options).await.unwrap();
        answer.expect_error(400, "M_UNSUPPORTED_ROOM_VERSION").unwrap();
    }
}

/// The pages of a room in one direction, from a token or from where it begins; each event once.
async fn walk(user: &User, room: &str, from: Option<&str>, query: &str) -> Vec<String> {
    let mut seen = Vec::new();
    let mut token = from.map(str::to_owned);
    for _ in 0..300 {
        let mut target = path("/_matrix/client/v3/rooms/{}/messages?", &[room]) + query;
        if let Some(token) = &token {
            target.push_str(&path("&from={}", &[token]));
        }
        let page = user.api.get(&target).await.unwrap().ok().unwrap();
        seen.extend(ids(&page["chunk"]));
        let Some(end) = page["end"].as_str() else {
            let distinct: BTreeSet<&String> = seen.iter().collect();
            assert_eq!(distinct.len(), seen.len(), "{query}: an event came twice");
            return seen;
        };
        assert_ne!(Some(end), token.as_deref(), "{query}: a page without end");
        // Forwards one can always ask again for what is new.
        if query.contains("dir=f") && page["chunk"] == json!([]) {
            return seen;
        }
        token = Some(end.to_owned());
    }
    panic!("{query}: three hundred pages");
}

#[tokio::test]
async fn every_way_through_a_history_ends_and_shows_each_event_once() {
    let alice = support::user("alice").await;
    let room = alice.create_public_room().await.unwrap();
    for number in 0..25 {
        alice.say(&room, &format!("walnut {number}")).await.unwrap();
    }
    let all_ids: Vec<String> = ids(&json!(alice.history(&room).await.unwrap()));
    assert!(all_ids.len() > 25);
    for limit in [1, 7, 10, 1_000] {
        let mut back = walk(&alice, &room, None, &format!("dir=b&limit={limit}")).await;
        back.reverse();
        assert_eq!(back, all_ids, "back by {limit}");
        let forth = walk(&alice, &room, None, &format!("dir=f&limit={limit}")).await;
        assert_eq!(forth, all_ids, "forth by {limit}");
    }
    let nothing = path("dir=b&limit=5&filter={}", &[r#"{"types":["org.example.nothing"]}"#]);
    assert_eq!(walk(&alice, &room, None, &nothing).await, [""; 0]);
    let filter = path("&filter={}", &[r#"{"room":{"timeline":{"limit":3}}}"#]);
    let sync = alice.api.get(&format!("{SYNC}?timeout=0{filter}")).await.unwrap().ok().unwrap();
    let timeline = &sync["rooms"]["join"][&room]["timeline"];
    let rest = walk(&alice, &room, timeline["prev_batch"].as_str(), "dir=b&limit=4").await;
    assert_eq!(rest.len() + ids(&timeline["events"]).len(), all_ids.len());
    let middle = &all_ids[15];
    let context = path("/_matrix/client/v3/rooms/{}/context/{}?limit=4", &[&room, middle]);
    let context = alice.api.get(&context).await.unwrap().ok().unwrap();
    let earlier = walk(&alice, &room, context["start"].as_str(), "dir=b&limit=3").await;
    let later = walk(&alice, &room, context["end"].as_str(), "dir=f&limit=3").await;
    let around = ids(&context["events_before"]).len() + ids(&context["events_after"]).len() + 1;
    assert_eq!(earlier.len() + later.len() + around, all_ids.len());
    let search = json!({ "search_categories": { "room_events": {
        "search_term": "walnut 12", "event_context": { "before_limit": 1, "after_limit": 1 },
    } } });
    let found = alice.api.post("/_matrix/client/v3/search", search).await.unwrap().ok().unwrap();
    let found = &found["search_categories"]["room_events"]["results"][0]["context"];
    assert!(!walk(&alice, &room, found["start"].as_str(), "dir=b&limit=4").await.is_empty());

    // After a join over federation, where history is fetched as one walks.
    let mut scene = Scene::set_by_peer("11").await;
    for number in 0..5 {
        scene.say(&number.to_string()).await;
    }
    let back = walk(&scene.alice, &scene.room.id, None, "dir=b&limit=2").await;
    let events = scene.room.timeline();
    let first = &events[0];
    assert_eq!(back.last(), Some(&first.id), "the beginning is reached");
    assert_eq!(back.len(), events.len());
}

#[tokio::test]
async fn tokens_that_are_not_of_here_are_refused_or_worth_nothing() {
    let (alice, bob) = (support::user("alice").await, support::user("bob").await);
    let room = alice.create_room(json!({ "preset": "private_chat" })).await.unwrap();
    alice.say(&room, "a secret").await.unwrap();
    let sync = alice.api.get(SYNC).await.unwrap().ok().unwrap();
    let next = sync["next_batch"].as_str().unwrap().to_owned();
    let prev =
        sync["rooms"]["join"][&room]["timeline"]["prev_batch"].as_str().unwrap_or(&next).to_owned();
    let garbage = [
        "nonsense",
        "s",
        "t",
        "s99999999999999999999999",
        "s-1",
        "t1-5",
        "\u{0}",
        "s1_\u{1f600}",
        "{}",
        "../x",
        "null",
    ];
    for token in garbage {
        for template in [
            "/_matrix/client/v3/sync?timeout=0&since={}".to_owned(),
            path("/_matrix/client/v3/rooms/{}/messages?dir=b&from=", &[&room]) + "{}",
            path("/_matrix/client/v3/rooms/{}/members?at=", &[&room]) + "{}",
            "/_matrix/client/v3/events?timeout=0&from={}".to_owned(),
            "/_matrix/client/v3/keys/changes?from={}&to=x".to_owned(),
        ] {
            let answer = alice.api.get(&path(&template, &[token])).await.unwrap();
            answer.expect_error(400, "M_INVALID_PARAM").unwrap();
        }
        let target = path(&format!("{SIMPLIFIED}?pos={{}}"), &[token]);
        let answer = alice.api.post(&target, json!({})).await.unwrap();
        answer.expect_error(400, "M_UNKNOWN_POS").unwrap();
    }
    // A token of another user is a place in time: it shows nothing of theirs, and loses nothing.
    let hers =
        bob.api.get(&path("/_matrix/client/v3/sync?timeout=0&since={}", &[&next])).await.unwrap();
    assert!(!hers.ok().unwrap().to_string().contains("a secret"));
    let messages = path("/_matrix/client/v3/rooms/{}/messages?dir=b&from={}", &[&room, &next]);
    bob.api.get(&messages).await.unwrap().expect_error(403, "M_FORBIDDEN").unwrap();
    // Each kind where the other is wanted.
    for token in [&next, &prev] {
        for template in [
            "/_matrix/client/v3/sync?timeout=0&since={}".to_owned(),
            path("/_matrix/client/v3/rooms/{}/messages?dir=b&from=", &[&room]) + "{}",
        ] {
            let answer = alice.api.get(&path(&template, &[token])).await.unwrap();
            assert!(matches!(answer.status, 200 | 400), "{answer:?}");
        }
    }
    // Used at once, while everything changes, it loses nothing.
    let mut since = next;
    let mut seen = Vec::new();
    for number in 0..20 {
        let body = number.to_string();
        let said = alice.say(&room, &body);
        let target = path("/_matrix/client/v3/sync?timeout=0&since={}", &[&since]);
        let (said, answer) = tokio::join!(said, alice.api.get(&target));
        let (said, answer) = (said.unwrap(), answer.unwrap().ok().unwrap());
        seen.extend(ids(&answer["rooms"]["join"][&room]["timeline"]["events"]));
        since = answer["next_batch"].as_str().unwrap().to_owned();
        let answer =
            alice.api.get(&path("/_matrix/client/v3/sync?timeout=0&since={}", &[&since])).await;
        let answer = answer.unwrap().ok().unwrap();
        seen.extend(ids(&answer["rooms"]["join"][&room]["timeline"]["events"]));
        since = answer["next_batch"].as_str().unwrap().to_owned();
        assert_eq!(seen.iter().filter(|id| **id == said).count(), 1, "message {number}");
    }
}

/// Two long polls of one account sleep until something happens, and then not again.
#[tokio::test]
async fn two_clients_of_one_account_do_not_wake_each_other() {
    let (alice, bob) = (support::user("alice").await, support::user("bob").await);
    let room = alice.create_public_room().await.unwrap();
    bob.join(&room, &[]).await.unwrap();
    let other = alice.login().await.unwrap();
    let settle = async |user: &User| {
        let mut since = user.api.get(SYNC).await.unwrap().ok().unwrap()["next_batch"].clone();
        for _ in 0..3 {
            let target =
                path("/_matrix/client/v3/sync?timeout=0&since={}", &[since.as_str().unwrap()]);
            since = user.api.get(&target).await.unwrap().ok().unwrap()["next_batch"].clone();
        }
        since
    };
    let wait = async |user: &User, since: &Value, ms: u64| {
        let template = format!("{SYNC}?timeout={ms}&since={{}}");
        let begun = std::time::Instant::now();
        let answer = user.api.get(&path(&template, &[since.as_str().unwrap()])).await.unwrap();
        (answer.ok().unwrap(), begun.elapsed())
    };
    let (first, second) = (settle(&alice).await, settle(&other).await);
    let ((one, slept), (two, also)) =
        tokio::join!(wait(&alice, &first, 3_000), wait(&other, &second, 3_000));
    assert!(slept >= Duration::from_secs(3) && also >= Duration::from_secs(3), "{one} {two}");
    // One change of each kind wakes both.
    let data = path("/_matrix/client/v3/user/{}/account_data/org.example", &[&alice.id]);
    let typing = path("/_matrix/client/v3/rooms/{}/typing/{}", &[&room, &bob.id]);
    let device = path("/_matrix/client/v3/sendToDevice/org.example/{}", &["1"]);
    let to_all = json!({ "messages": { &alice.id: { "*": { "n": 1 } } } });
    let rule = "/_matrix/client/v3/pushrules/global/content/x".to_owned();
    let said = alice.say(&room, "x").await.unwrap();
    let receipt = path("/_matrix/client/v3/rooms/{}/receipt/m.read/{}", &[&room, &said]);
    let message = path("/_matrix/client/v3/rooms/{}/send/m.room.message/{}", &[&room, "wake"]);
    let (mut first, mut second) = (settle(&alice).await, settle(&other).await);
    for (who, method, target, body) in [
        (&alice, Method::PUT, data, json!({ "n": 1 })),
        (&bob, Method::PUT, typing, json!({ "typing": true, "timeout": 60_000 })),
        (&bob, Method::PUT, device, to_all),
        (&alice, Method::PUT, rule, json!({ "actions": [], "pattern": "x" })),
        (&bob, Method::POST, receipt, json!({})),
        (&bob, Method::PUT, message, json!({ "msgtype": "m.text", "body": "x" })),
    ] {
        let change = async {
            let answer = who.api.request(method, &target, Some(&body)).await.unwrap();
            answer.ok().unwrap();
        };
        let (one, two, ()) =
            tokio::join!(wait(&alice, &first, 60_000), wait(&other, &second, 60_000), change);
        for (_, slept) in [&one, &two] {
            assert!(*slept < Duration::from_secs(30), "{target} woke nobody");
        }
        first = one.0["next_batch"].clone();
        second = two.0["next_batch"].clone();
    }
}

#[tokio::test]
async fn sliding_sync_shows_a_room_again_and_leaves_no_gap() {
    let (alice, bob) = (support::user("alice").await, support::user("bob").await);
    let room = alice.create_public_room().await.unwrap();
    for way in ["leave", "kick"] {
        bob.join(&room, &[]).await.unwrap();
        let mut connection = Connection::new(&bob);
        connection.ask(all(5, &[("m.room.create", "")])).await;
        match way {
            "leave" => bob.leave(&room).await.unwrap(),
            _ => alice.kick(&room, &bob.id).await.unwrap(),
        }
        connection.ask(all(5, &[("m.room.create", "")])).await;
        bob.join(&room, &[]).await.unwrap();
        let again = connection.ask(all(5, &[("m.room.create", "")])).await;
        assert!(again["rooms"].get(&room).is_some(), "{way}: {again}");
        let fresh = bob.login().await.unwrap();
        let seen = Connection::new(&fresh).ask(all(5, &[])).await;
        assert!(seen["rooms"].get(&room).is_some(), "{way}: {seen}");
    }
    // An answer that got lost: the same place again gives the same or more.
    let mut connection = Connection::new(&bob);
    connection.ask(all(20, &[])).await;
    let pos = connection.pos.clone().unwrap();
    let said = alice.say(&room, "lost").await.unwrap();
    connection.ask(all(20, &[])).await;
    connection.pos = Some(pos);
    for number in 0..50 {
        alice.say(&room, &number.to_string()).await.unwrap();
    }
    let again = connection.ask(all(20, &[])).await;
    let shown = &again["rooms"][&room];
    assert_eq!(shown["limited"], true, "{shown}");
    let mut seen = ids(&shown["timeline"]);
    let mut from = shown["prev_batch"].as_str().unwrap().to_owned();
    while !seen.contains(&said) {
        let target =
            path("/_matrix/client/v3/rooms/{}/messages?dir=b&limit=20&from={}", &[&room, &from]);
        let page = bob.api.get(&target).await.unwrap().ok().unwrap();
        let more = ids(&page["chunk"]);
        assert!(!more.is_empty() && more.iter().all(|id| !seen.contains(id)), "{page}");
        seen.extend(more);
        from = page["end"].as_str().unwrap_or_default().to_owned();
    }
    // After a kick nothing but the kick.
    alice.kick(&room, &bob.id).await.unwrap();
    let last = alice.say(&room, "he is gone").await.unwrap();
    for _ in 0..2 {
        let after = connection.ask(all(20, &[("*", "*")])).await;
        assert!(!after.to_string().contains(&last), "{after}");
    }
}

#[tokio::test]
async fn a_room_that_was_left_comes_once() {
    let (alice, bob) = (support::user("alice").await, support::user("bob").await);
    for way in ["leave", "kick", "ban", "refuse", "between", "limit 0"] {
        let room = alice.create_room(json!({ "preset": "private_chat" })).await.unwrap();
        alice.invite(&room, &bob.id).await.unwrap();
        if !matches!(way, "refuse" | "between") {
            bob.join(&room, &[]).await.unwrap();
        }
        let limit = if way == "limit 0" { 0 } else { 10 };
        let filter = json!({ "room": { "timeline": { "limit": limit } } }).to_string();
        let first = bob.api.get(&path("/_matrix/client/v3/sync?filter={}", &[&filter])).await;
        let first = first.unwrap().ok().unwrap();
        match way {
            "kick" => alice.kick(&room, &bob.id).await.unwrap(),
            "ban" => alice.ban(&room, &bob.id).await.unwrap(),
            "between" => {
                bob.join(&room, &[]).await.unwrap();
                bob.leave(&room).await.unwrap();
            }
            _ => bob.leave(&room).await.unwrap(),
        }
        let late = alice.say(&room, "too late").await.unwrap();
        let mut since = first["next_batch"].as_str().unwrap().to_owned();
        let mut times = 0;
        for _ in 0..3 {
            let template = "/_matrix/client/v3/sync?timeout=0&since={}&filter={}";
            let answer = bob.api.get(&path(template, &[&since, &filter])).await.unwrap();
            let answer = answer.ok().unwrap();
            since = answer["next_batch"].as_str().unwrap().to_owned();
            let left = &answer["rooms"]["leave"][&room];
            assert!(answer["rooms"]["join"].get(&room).is_none(), "{way}: {answer}");
            assert!(!answer.to_string().contains(&late), "{way}: {answer}");
            if left.is_object() {
                times += 1;
                let events = left["timeline"]["events"].as_array().cloned().unwrap_or_default();
                let is_leave = |event: &Value| {
                    event["state_key"] == *bob.id
                        && matches!(event["content"]["membership"].as_str(), Some("leave" | "ban"))
                };
                assert!(limit == 0 || events.last().is_some_and(is_leave), "{way}: {left}");
            }
        }
        assert_eq!(times, 1, "{way}");
        let again = bob.api.get(SYNC).await.unwrap().ok().unwrap();
        assert!(again["rooms"]["leave"].get(&room).is_none(), "{way}: {again}");
        let filter = json!({ "room": { "include_leave": true } }).to_string();
        let with =
            bob.api.get(&path("/_matrix/client/v3/sync?filter={}", &[&filter])).await.unwrap();
        let with = with.ok().unwrap();
        assert!(with["rooms"]["leave"].get(&room).is_some(), "{way}: {with}");
    }
}

#[tokio::test]
async fn a_receipt_is_for_an_event_of_its_room_and_thread() {
    let (alice, bob) = (support::user("alice").await, support::user("bob").await);
    let (room, other) =
        (alice.create_public_room().await.unwrap(), alice.create_public_room().await.unwrap());
    for room in [&room, &other] {
        bob.join(room, &[]).await.unwrap();
    }
    let mut events = Vec::new();
    for number in 0..5 {
        events.push(alice.say(&room, &number.to_string()).await.unwrap());
    }
    let root = &events[0];
    let reply = json!({ "msgtype": "m.text", "body": "in a thread",
                        "m.relates_to": { "rel_type": "m.thread", "event_id": root } });
    let reply = alice.send(&room, "m.room.message", reply).await.unwrap();
    let elsewhere = alice.say(&other, "elsewhere").await.unwrap();
    let receipt = async |kind: &str, event: &str, thread: Value| {
        let template = "/_matrix/client/v3/rooms/{}/receipt/{}/{}";
        let body = if thread.is_null() { json!({}) } else { json!({ "thread_id": thread }) };
        bob.api.post(&path(template, &[&room, kind, event]), body).await.unwrap()
    };
    for (kind, event, thread) in [
        ("m.read", &events[1], json!("")),
        ("m.read", &events[1], json!(5)),
        ("m.read", &events[1], json!(root)),
        ("m.read", &reply, json!(events[2])),
        ("m.read", &reply, json!("main")),
        ("m.read.private", &events[1], json!(root)),
        ("m.fully_read", &events[1], json!("main")),
    ] {
        let answer = receipt(kind, event, thread.clone()).await;
        assert_eq!(answer.status, 400, "{kind} {thread}: {answer:?}");
        assert_eq!(answer.errcode(), "M_INVALID_PARAM", "{kind} {thread}: {answer:?}");
    }
    let foreign = receipt("m.read", &elsewhere, Value::Null).await;
    assert!(matches!(foreign.status, 400 | 403 | 404), "{foreign:?}");
    let mut sync = Sync::start(&alice).await.unwrap();
    receipt("m.read", &events[4], Value::Null).await.ok().unwrap();
    let at = |content: &Value, event: &str| content[event]["m.read"].get(&bob.id).is_some();
    sync.ephemeral(&room, "m.receipt", |content| at(content, &events[4])).await.unwrap();
    // One that goes back changes nothing, so nobody is told.
    receipt("m.read", &events[2], Value::Null).await.ok().unwrap();
    receipt("m.read", &events[4], Value::Null).await.ok().unwrap();
    let answer = sync.poll(Duration::ZERO).await.unwrap();
    assert!(answer["rooms"]["join"].get(&room).is_none(), "{answer}");
    let now = alice.api.get(SYNC).await.unwrap().ok().unwrap();
    let shown = now["rooms"]["join"][&room]["ephemeral"]["events"].to_string();
    assert!(shown.contains(&events[4]) && !shown.contains(&events[2]), "{shown}");
    receipt("m.read", &reply, json!(root)).await.ok().unwrap();
    let threaded = |content: &Value| content[&reply]["m.read"][&bob.id]["thread_id"] == *root;
    sync.ephemeral(&room, "m.receipt", threaded).await.unwrap();
}

/// What changed while a server was away it is told when it is back, though nothing else is to be sent.
#[tokio::test]
async fn a_change_of_devices_waits_for_a_server_that_is_away() {
    let scene = Scene::set("12").await;
    let changes = |request: &Received| -> usize {
        request.edus().filter(|edu| edu["edu_type"] == "m.device_list_update").count()
    };
    let keys = device_keys(&scene.alice, "a");
    // What does not arrive is sent again as it was, and what is new waits: let nothing be on its way.
    let online = |request: &Received| request.edus().any(|edu| edu["edu_type"] == "m.presence");
    scene.peer.received("her presence", online).await.unwrap();
    scene.peer.answer("send", Reply::error(503, "M_UNKNOWN"));
    upload(&scene.alice, json!({ "device_keys": keys })).await;
    let second = scene.alice.login().await.unwrap();
    scene.peer.received("a try", |request| changes(request) > 0).await.unwrap();
    scene.peer.be_honest();
    let before = scene.peer.how_many();
    // Whoever speaks is there again.
    let devices = path("/_matrix/federation/v1/user/devices/{}", &[&scene.alice.id]);
    scene.peer.get(scene.server, &devices).await.unwrap().ok().unwrap();
    for device in [&scene.alice.device, &second.device] {
        let is_it = |request: &Received| {
            request.edus().any(|edu| {
                edu["edu_type"] == "m.device_list_update" && edu["content"]["device_id"] == **device
            })
        };
        scene.peer.received_after(before, "the change", is_it).await.unwrap();
    }
}
