//! Events are reached through their own room, as whoever asks may see them, and not otherwise.

use http::Method;
use serde_json::{Value, json};
use starling_conformance::{
    client::{Sync, User, path},
    evil::{Event, Reply},
};

use crate::{
    client::sync::connection::{SIMPLIFIED, all},
    scene::{Scene, assert_others_are_served},
    support,
};

const CLIENT: &str = "/_matrix/client/v3";

/// Everything that a client can ask about an event of a room.
fn questions(room: &str, event: &str) -> Vec<(Method, String, Value)> {
    let get = |template: &str| (Method::GET, path(template, &[room, event]), Value::Null);
    let post = |template: &str, body: Value| (Method::POST, path(template, &[room, event]), body);
    let put = |template: &str, body: Value| (Method::PUT, path(template, &[room, event]), body);
    let threads = "/_matrix/client/unstable/io.element.msc4306/rooms/{}/thread/{}/subscription";
    let markers = path("/_matrix/client/v3/rooms/{}/read_markers", &[room]);
    vec![
        get("/_matrix/client/v3/rooms/{}/event/{}"),
        get("/_matrix/client/v3/rooms/{}/context/{}"),
        get("/_matrix/client/v1/rooms/{}/relations/{}"),
        get("/_matrix/client/v1/rooms/{}/relations/{}/m.thread"),
        get("/_matrix/client/v1/rooms/{}/relations/{}/m.thread/m.room.message"),
        get("/_matrix/client/v1/rooms/{}/relations/{}?recurse=true"),
        get(threads),
        put(threads, json!({})),
        post("/_matrix/client/v3/rooms/{}/receipt/m.read/{}", json!({})),
        post("/_matrix/client/v3/rooms/{}/receipt/m.read.private/{}", json!({})),
        post("/_matrix/client/v3/rooms/{}/report/{}", json!({ "reason": "x" })),
        (Method::POST, markers, json!({ "m.fully_read": event, "m.read": event })),
    ]
}

#[tokio::test]
async fn an_event_of_another_room_is_not_reached_through_this_one() {
    let (alice, bob) = (support::user("alice").await, support::user("bob").await);
    let open = alice.create_public_room().await.unwrap();
    let closed = alice.create_room(json!({ "preset": "private_chat" })).await.unwrap();
    let own = bob.create_room(json!({ "preset": "private_chat" })).await.unwrap();
    bob.join(&open, &[]).await.unwrap();
    let root = alice.say(&closed, "a secret").await.unwrap();
    let reply = json!({ "msgtype": "m.text", "body": "another secret",
                        "m.relates_to": { "rel_type": "m.thread", "event_id": root } });
    let reply = alice.send(&closed, "m.room.message", reply).await.unwrap();
    let topic = json!({ "topic": "a secret topic" });
    let topic = alice.set_state(&closed, "m.room.topic", "", topic).await.unwrap();
    for event in [&root, &reply, &topic] {
        for room in [&open, &own, &closed] {
            for (method, target, body) in questions(room, event) {
                let body = (method != Method::GET).then_some(&body);
                let answer = bob.api.request(method.clone(), &target, body).await.unwrap();
                let name = format!("{method} {target}: {answer:?}");
                assert!(!answer.body.to_string().contains("secret"), "{name}");
                let none = answer.body["chunk"] == json!([]);
                assert!((400..500).contains(&answer.status) || none, "{name}");
            }
        }
    }
    // A token is a place in every room; it shows nothing of the one that it came from.
    let sync = alice.api.get(&format!("{CLIENT}/sync")).await.unwrap().ok().unwrap();
    let token = sync["rooms"]["join"][&closed]["timeline"]["prev_batch"].as_str().unwrap();
    for room in [&open, &own, &closed] {
        for direction in ["b", "f"] {
            let template = "/_matrix/client/v3/rooms/{}/messages?dir={}&from={}&limit=100";
            let answer = bob.api.get(&path(template, &[room, direction, token])).await.unwrap();
            assert!(!answer.body.to_string().contains("secret"), "{answer:?}");
        }
        let template = "/_matrix/client/v3/rooms/{}/members?at={}";
        let answer = bob.api.get(&path(template, &[room, token])).await.unwrap();
        assert!(!answer.body.to_string().contains(&closed), "{answer:?}");
    }
    assert_others_are_served(support::server().await).await;
}

/// Whoever was never in a room, or is not any more, sees nothing of it by naming it.
#[tokio::test]
async fn a_subscription_to_a_room_is_no_way_into_it() {
    let (alice, bob) = (support::user("alice").await, support::user("bob").await);
    let closed = || json!({ "preset": "private_chat", "name": "told before" });
    let never = alice.create_room(closed()).await.unwrap();
    let left = alice.create_room(closed()).await.unwrap();
    let banned = alice.create_room(closed()).await.unwrap();
    let invited = alice.create_room(closed()).await.unwrap();
    for room in [&left, &banned] {
        alice.invite(room, &bob.id).await.unwrap();
        bob.join(room, &[]).await.unwrap();
    }
    bob.leave(&left).await.unwrap();
    alice.ban(&banned, &bob.id).await.unwrap();
    alice.invite(&invited, &bob.id).await.unwrap();
    let rooms = [&never, &left, &banned, &invited];
    for room in rooms {
        alice.say(room, "a secret").await.unwrap();
        alice.set_state(room, "m.room.topic", "", json!({ "topic": "a secret" })).await.unwrap();
    }
    let wanted = json!({ "timeline_limit": 50, "required_state": [["*", "*"]] });
    let subscriptions: serde_json::Map<String, Value> =
        rooms.iter().map(|room| ((*room).clone(), wanted.clone())).collect();
    let mut request = all(50, &[("*", "*")]);
    request["room_subscriptions"] = subscriptions.clone().into();
    request["extensions"] = json!({
        "typing": { "enabled": true }, "receipts": { "enabled": true },
        "account_data": { "enabled": true },
    });
    let mut v4 = json!({ "room_subscriptions": {} });
    for room in rooms {
        v4["room_subscriptions"][room] =
            json!({ "timeline_limit": 50, "required_state": { "include": [{}] } });
    }
    for (target, body) in [(SIMPLIFIED, request), ("/_matrix/client/v4/sync", v4)] {
        let answer = bob.api.post(target, body).await.unwrap().ok().unwrap();
        assert!(!answer.to_string().contains("a secret"), "{target}: {answer}");
        assert!(answer["rooms"].get(&never).is_none(), "{target}: {answer}");
    }
    let sync = bob.api.get(&format!("{CLIENT}/sync?full_state=true")).await.unwrap().ok().unwrap();
    assert!(!sync.to_string().contains("a secret"), "{sync}");
    assert!(sync["rooms"]["join"].as_object().is_none_or(serde_json::Map::is_empty), "{sync}");
}

/// All the ways in which a member can read what was said.
async fn read_everything(user: &User, room: &str, root: &str, event: &str) -> Vec<(String, Value)> {
    let targets = [
        format!("{CLIENT}/sync?full_state=true"),
        format!("{CLIENT}/initialSync?limit=50"),
        format!("{CLIENT}/notifications"),
        path("/_matrix/client/v3/rooms/{}/initialSync", &[room]),
        path("/_matrix/client/v3/rooms/{}/messages?dir=b&limit=100", &[room]),
        path("/_matrix/client/v3/rooms/{}/messages?dir=f&limit=100", &[room]),
        path("/_matrix/client/v3/rooms/{}/state", &[room]),
        path("/_matrix/client/v3/rooms/{}/event/{}", &[room, event]),
        path("/_matrix/client/v3/rooms/{}/event/{}", &[room, root]),
        path("/_matrix/client/v3/rooms/{}/context/{}?limit=50", &[room, event]),
        path("/_matrix/client/v3/rooms/{}/context/{}?limit=50", &[room, root]),
        path("/_matrix/client/v1/rooms/{}/relations/{}?limit=50", &[room, root]),
        path("/_matrix/client/v1/rooms/{}/threads", &[room]),
        path("/_matrix/client/v1/room_summary/{}", &[room]),
    ];
    let mut answers = Vec::new();
    for target in targets {
        let answer = user.api.get(&target).await.unwrap();
        assert!(matches!(answer.status, 200 | 404), "{answer:?}");
        answers.push((target, answer.body));
    }
    let search = json!({ "search_categories": { "room_events": {
        "search_term": "secret", "event_context": {}, "include_state": true,
    } } });
    for (target, body) in
        [(format!("{CLIENT}/search"), search), (SIMPLIFIED.to_owned(), all(50, &[("*", "*")]))]
    {
        let answer = user.api.post(&target, body).await.unwrap().ok().unwrap();
        answers.push((target, answer));
    }
    answers
}

/// Whether any event of an answer says what nobody is to read any more.
fn says(answer: &Value, word: &str) -> bool {
    match answer {
        Value::String(text) => text.contains(word),
        Value::Array(items) => items.iter().any(|item| says(item, word)),
        // A search says which words it was asked to find.
        Value::Object(members) => {
            members.iter().any(|(key, value)| key != "highlights" && says(value, word))
        }
        _ => false,
    }
}

#[tokio::test]
async fn what_was_redacted_is_shown_nowhere() {
    for version in ["10", "12"] {
        let mut scene =
            Scene::set_with(json!({ "preset": "public_chat", "room_version": version })).await;
        let room = scene.room.id.clone();
        let bob = support::user("bob").await;
        bob.join(&room, &[]).await.unwrap();
        let alice = scene.alice.clone();
        let root = alice.say(&room, "root").await.unwrap();
        let related = |kind: &str| {
            json!({ "msgtype": "m.text", "body": "a secret", "m.mentions": { "user_ids": [bob.id] },
                    "m.new_content": { "msgtype": "m.text", "body": "a secret" },
                    "m.relates_to": { "rel_type": kind, "event_id": root } })
        };
        let said = alice.say(&room, "a secret").await.unwrap();
        let mut events = vec![said.clone()];
        for kind in ["m.thread", "m.replace", "m.reference"] {
            events.push(alice.send(&room, "m.room.message", related(kind)).await.unwrap());
        }
        let topic = json!({ "topic": "a secret" });
        events.push(alice.set_state(&room, "m.room.topic", "", topic).await.unwrap());
        let later = json!({ "topic": "nothing" });
        alice.set_state(&room, "m.room.topic", "", later).await.unwrap();
        let before = read_everything(&bob, &room, &root, &said).await;
        let told = before.iter().filter(|(_, answer)| says(answer, "a secret")).count();
        assert!(told >= 9, "it was there to be read: {told}");
        for event in &events {
            alice.redact(&room, event).await.unwrap();
        }
        for user in [&alice, &bob] {
            for (target, answer) in read_everything(user, &room, &root, &said).await {
                assert!(!says(&answer, "a secret"), "version {version}: {target}: {answer}");
            }
        }
        for event in &events {
            for target in [
                path("/_matrix/federation/v1/event/{}", &[event]),
                path("/_matrix/federation/v1/backfill/{}?limit=50&v={}", &[&room, event]),
                path("/_matrix/federation/v1/state/{}?event_id={}", &[&room, event]),
                path("/_matrix/federation/v1/event_auth/{}/{}", &[&room, event]),
            ] {
                let answer = scene.peer.get(scene.server, &target).await.unwrap().ok().unwrap();
                assert!(!says(&answer, "a secret"), "version {version}: {target}: {answer}");
            }
        }
        let body = json!({ "earliest_events": [], "latest_events": events, "limit": 50 });
        let target = path("/_matrix/federation/v1/get_missing_events/{}", &[&room]);
        let answer = scene.peer.post(scene.server, &target, &body).await.unwrap().ok().unwrap();
        assert!(!says(&answer, "a secret"), "version {version}: {answer}");
        scene.goes_on_without(&[]).await;
    }
}

/// What is known only because other events rest on it has no place in the room, so nobody can tell who
/// may see it.
#[tokio::test]
async fn what_others_rest_on_is_given_to_nobody_by_itself() {
    let server = support::server().await;
    let (peer, third) = (support::peer().await, support::peer().await);
    let (mallory, alice) = (peer.user("mallory"), support::user("alice").await);
    let joined = json!({ "history_visibility": "joined" });
    let state = [("m.room.history_visibility", joined)];
    let room = peer.create_room_with("11", &mallory, "public", &state).unwrap();
    let rename = |name: &str| {
        let content = json!({ "membership": "join", "displayname": name });
        let draft = room.state_draft(&mallory, "m.room.member", &mallory, content).unwrap();
        peer.put_in(&room, &draft).unwrap()
    };
    let hidden: Vec<Event> = ["secret one", "secret two"].into_iter().map(rename).collect();
    rename("Mallory");
    alice.join(&room.id, &[&peer.name]).await.unwrap();
    let mut sync = Sync::start(&alice).await.unwrap();
    let trent = third.user("trent");
    third.join(server, &room.id, &trent).await.unwrap();
    sync.membership(&room.id, &trent, "join").await.unwrap();
    // Its history could be asked for; nobody answers.
    peer.answer("backfill", Reply::error(404, "M_NOT_FOUND"));
    for event in &hidden {
        for target in [
            path("/_matrix/federation/v1/event/{}", &[&event.id]),
            path("/_matrix/federation/v1/backfill/{}?limit=10&v={}", &[&room.id, &event.id]),
        ] {
            let answer = third.get(server, &target).await.unwrap();
            assert!(!answer.body.to_string().contains("secret"), "{answer:?}");
        }
        let answer = alice.event(&room.id, &event.id).await.unwrap();
        assert!(!answer.body.to_string().contains("secret"), "{answer:?}");
    }
    assert_others_are_served(server).await;
}

/// A room of version 12 has the name of its beginning and no other.
#[tokio::test]
async fn a_room_of_version_12_is_not_joined_by_another_name() {
    let server = support::server().await;
    let (peer, alice) = (support::peer().await, support::user("alice").await);
    let mallory = peer.user("mallory");
    let (true_room, other) =
        (peer.create_room("12", &mallory).unwrap(), peer.create_room("12", &mallory).unwrap());
    let events = |room: &starling_conformance::evil::Room| -> Vec<Value> {
        room.timeline().into_iter().map(|event| event.pdu).collect()
    };
    let message = format!("!{}", "A".repeat(43));
    let own_name = format!("!own:{}", peer.name);
    for (name, id, told) in [
        ("the name of another event", message.as_str(), events(&true_room)),
        ("a name of the old form", &own_name, events(&true_room)),
        ("the name of another room", &other.id, events(&true_room)),
        ("two beginnings", &true_room.id, [events(&true_room), events(&other)].concat()),
    ] {
        let template = json!({ "room_version": "12", "event": {
            "type": "m.room.member", "room_id": id, "sender": alice.id, "state_key": alice.id,
            "content": { "membership": "join" }, "depth": 5, "origin_server_ts": 1,
            "prev_events": [true_room.extremities()[0]], "auth_events": [],
        } });
        peer.be_honest();
        peer.answer("make_join", Reply::ok(template));
        peer.answer(
            "send_join",
            Reply::ok(json!({
                "state": told, "auth_chain": told, "origin": peer.name, "members_omitted": false,
            })),
        );
        let answer = alice.try_join(id, &[&peer.name]).await.unwrap();
        if name == "two beginnings" && answer.status == 200 {
            // The true one is the only one that counts.
            let create = path("/_matrix/client/v3/rooms/{}/state", &[id]);
            let state = alice.api.get(&create).await.unwrap().ok().unwrap();
            let count = |kind: &str| {
                state.as_array().unwrap().iter().filter(|event| event["type"] == kind).count()
            };
            assert_eq!(count("m.room.create"), 1, "{state}");
            continue;
        }
        assert!(answer.status >= 400 && answer.status != 500, "{name}: {answer:?}");
        let joined = alice.api.get(&format!("{CLIENT}/joined_rooms")).await.unwrap().ok().unwrap();
        assert_eq!(joined["joined_rooms"], json!([]), "{name}");
    }
    assert_others_are_served(server).await;
}

/// Whoever names a room as the one before takes nothing from it: neither its names nor what its members
/// keep with it.
#[tokio::test]
async fn a_room_that_claims_a_predecessor_gets_none_of_its_names() {
    let server = support::server().await;
    let (alice, bob) = (support::user("alice").await, support::user("bob").await);
    let (mallory, peer) = (support::user("mallory").await, support::peer().await);
    let name = format!("hall-{}", starling_conformance::random::suffix().unwrap());
    let options =
        json!({ "preset": "public_chat", "room_alias_name": name, "visibility": "public" });
    let old = alice.create_room(options).await.unwrap();
    let alias = format!("#{name}:{}", server.name());
    bob.join(&old, &[]).await.unwrap();
    let tag = |room: &str| path("/_matrix/client/v3/user/{}/rooms/{}/tags", &[&bob.id, room]);
    let favourite = format!("{}/m.favourite", tag(&old));
    bob.api.put(&favourite, json!({})).await.unwrap().ok().unwrap();
    let claim = json!({ "room_id": old, "event_id": "$x" });
    let options = json!({ "preset": "public_chat", "creation_content": { "predecessor": claim } });
    let here = mallory.create_room(options).await.unwrap();
    let there = peer.create_room("11", &peer.user("mallory")).unwrap();
    let draft = there.state_draft(
        &peer.user("mallory"),
        "m.room.canonical_alias",
        "",
        json!({ "alias": alias, "alt_aliases": [alias] }),
    );
    peer.put_in(&there, &draft.unwrap()).unwrap();
    bob.join(&here, &[]).await.unwrap();
    bob.join(&there.id, &[&peer.name]).await.unwrap();
    let canonical = path("/_matrix/client/v3/rooms/{}/state/m.room.canonical_alias/", &[&here]);
    let answer = mallory.api.put(&canonical, json!({ "alias": alias })).await.unwrap();
    answer.expect_error(400, "M_BAD_ALIAS").unwrap();
    let target = path("/_matrix/client/v3/directory/room/{}", &[&alias]);
    let taking = mallory.api.put(&target, json!({ "room_id": here })).await.unwrap();
    assert!(matches!(taking.status, 403 | 409), "{taking:?}");
    let named = alice.api.get(&target).await.unwrap().ok().unwrap();
    assert_eq!(named["room_id"], old.as_str());
    for room in [&here, &there.id] {
        let tags = bob.api.get(&tag(room)).await.unwrap().ok().unwrap();
        assert_eq!(tags["tags"], json!({}), "{room}");
    }
    let state = alice.state(&old, "m.room.canonical_alias", "").await.unwrap().ok().unwrap();
    assert_eq!(state["alias"], alias);
    assert_others_are_served(server).await;
}

/// Who is only asked in is told what the room is, not who is there.
#[tokio::test]
async fn an_invitation_names_no_members() {
    let (alice, carol) = (support::user("alice").await, support::user("carol").await);
    let (bob, dave) = (support::user("bob").await, support::user("dave").await);
    let rule = json!([{ "type": "m.room.join_rules", "content": { "join_rule": "knock" } }]);
    let options = json!({ "name": "A room", "initial_state": rule, "invite": [carol.id] });
    let room = alice.create_room(options).await.unwrap();
    carol.join(&room, &[]).await.unwrap();
    alice.invite(&room, &bob.id).await.unwrap();
    let knock = path("/_matrix/client/v3/knock/{}", &[&room]);
    dave.api.post(&knock, json!({})).await.unwrap().ok().unwrap();
    for user in [&bob, &dave] {
        let sync = user.api.get(&format!("{CLIENT}/sync")).await.unwrap().ok().unwrap();
        assert!(sync.to_string().contains("A room"), "{sync}");
        assert!(!sync.to_string().contains(&carol.id), "{sync}");
        let sliding =
            user.api.post(SIMPLIFIED, all(10, &[("*", "*")])).await.unwrap().ok().unwrap();
        assert!(!sliding.to_string().contains(&carol.id), "{sliding}");
    }
}
