//! What is signed, and by what right: nothing counts that nobody proved.

use serde_json::{Value, json};
use starling_conformance::{
    client::{User, path},
    evil::{Event, Peer, Reply, Room},
};

use crate::{
    scene::{Scene, VERSIONS, assert_others_are_served},
    support,
};

/// How many requests authority that leads on and on may cost.
const MOST_REQUESTS: usize = 150;

/// A room of the peer's in which there is nothing but its beginning and its creator, and who `joins`.
/// The peer answers for it by script.
fn bare_room(peer: &Peer, version: &str, creation: &Value, joins: &User) -> Room {
    let mallory = peer.user("mallory");
    let id = format!("!bare-{}:{}", starling_conformance::random::suffix().unwrap(), peer.name);
    let draft = Room::empty(&id, version);
    let mut create = draft.state_draft(&mallory, "m.room.create", "", creation.clone()).unwrap();
    if version == "12" {
        create.as_object_mut().unwrap().remove("room_id");
    } else if version != "11" {
        create["content"]["creator"] = json!(mallory);
    }
    let create = Event::seal(version, &create, &peer.name, &peer.key).unwrap();
    let id = if version == "12" { create.id.replacen('$', "!", 1) } else { id };
    let room = Room::empty(&id, version);
    room.add(&create);
    let put = |draft: Value| {
        let event = peer.seal(&room, &draft).unwrap();
        room.add(&event);
    };
    put(room.member(&mallory, &mallory, "join").unwrap());
    let open = json!({ "join_rule": "public" });
    put(room.state_draft(&mallory, "m.room.join_rules", "", open).unwrap());
    let template = room.member(&joins.id, &joins.id, "join").unwrap();
    let template = json!({ "room_version": version, "event": template });
    peer.answer("make_join", Reply::ok(template));
    let told: Vec<Value> = room.timeline().into_iter().map(|event| event.pdu).collect();
    let told =
        json!({ "state": told, "auth_chain": told, "origin": peer.name, "members_omitted": false });
    let (taken, version) = (room.clone(), version.to_owned());
    peer.script(move |request| {
        if !request.pieces.contains(&"send_join".to_owned()) {
            return None;
        }
        taken.add(&Event::received(&version, &request.body).ok()?);
        Some(Reply::ok(told.clone()))
    });
    room
}

#[tokio::test]
async fn creators_stand_above_everybody_else() {
    let server = support::server().await;
    let (peer, alice) = (support::peer().await, support::user("alice").await);
    let (mallory, bob) = (peer.user("mallory"), support::user("bob").await);
    for (version, ends) in [("11", true), ("12", false)] {
        let mut users = json!({ &mallory: 100, &bob.id: 100 });
        if version == "11" {
            users[&alice.id] = json!(100);
        }
        let options = json!({
            "preset": "public_chat", "room_version": version,
            "power_level_content_override": { "users": users },
        });
        let id = alice.create_room(options).await.unwrap();
        bob.join(&id, &[]).await.unwrap();
        let room = peer.join(server, &id, &mallory).await.unwrap();
        let tombstone = json!({ "body": "over", "replacement_room": "!other:example.org" });
        let draft = room.state_draft(&mallory, "m.room.tombstone", "", tombstone.clone()).unwrap();
        let event = peer.seal(&room, &draft).unwrap();
        peer.send(server, &[&event]).await.unwrap();
        let shown = alice.event(&id, &event.id).await.unwrap().status == 200;
        assert_eq!(shown, ends, "version {version}");
        let target = path("/_matrix/client/v3/rooms/{}/state/m.room.tombstone/", &[&id]);
        let answer = bob.api.put(&target, tombstone).await.unwrap();
        assert_eq!(answer.status == 200, ends, "version {version}: {answer:?}");
    }
    for creators in [json!("@bob:x"), json!(["bob"]), json!([5]), json!({ "a": 1 }), json!([""])] {
        let creation = json!({ "additional_creators": creators });
        let options = json!({ "room_version": "12", "creation_content": creation });
        let answer = alice.api.post("/_matrix/client/v3/createRoom", options).await.unwrap();
        assert!((400..500).contains(&answer.status), "{creators}: {answer:?}");
        let creation = json!({ "room_version": "12", "additional_creators": creators });
        let room = bare_room(&peer, "12", &creation, &alice);
        let answer = alice.try_join(&room.id, &[&peer.name]).await.unwrap();
        assert!(answer.status >= 400 && answer.status != 500, "{creators}: {answer:?}");
        peer.be_honest();
    }
    assert_others_are_served(server).await;
}

#[tokio::test]
async fn without_power_levels_the_room_is_its_creators() {
    let server = support::server().await;
    for version in VERSIONS {
        let (peer, alice) = (support::peer().await, support::user("alice").await);
        let (mallory, trent) = (peer.user("mallory"), peer.user("trent"));
        let room = bare_room(&peer, version, &json!({ "room_version": version }), &alice);
        alice.join(&room.id, &[&peer.name]).await.unwrap();
        let join = room.member(&trent, &trent, "join").unwrap();
        let join = peer.seal(&room, &join).unwrap();
        room.add(&join);
        peer.send(server, &[&join]).await.unwrap();
        let grab = |user: &str| json!({ "users": { user: 100 } });
        let draft = room.state_draft(&trent, "m.room.power_levels", "", grab(&trent)).unwrap();
        let grabbed = peer.seal(&room, &draft).unwrap();
        peer.send(server, &[&grabbed]).await.unwrap();
        let answer = alice.event(&room.id, &grabbed.id).await.unwrap();
        answer.expect_error(404, "M_NOT_FOUND").unwrap();
        let target = path("/_matrix/client/v3/rooms/{}/state/m.room.power_levels/", &[&room.id]);
        let answer = alice.api.put(&target, grab(&alice.id)).await.unwrap();
        answer.expect_error(403, "M_FORBIDDEN").unwrap();
        let kick = path("/_matrix/client/v3/rooms/{}/kick", &[&room.id]);
        let answer = alice.api.post(&kick, json!({ "user_id": mallory })).await.unwrap();
        answer.expect_error(403, "M_FORBIDDEN").unwrap();
        assert_eq!(alice.state(&room.id, "m.room.power_levels", "").await.unwrap().status, 404);
        // The creator can name the room, and everybody speaks.
        let name =
            room.state_draft(&mallory, "m.room.name", "", json!({ "name": "Mallory's" })).unwrap();
        let name = peer.seal(&room, &name).unwrap();
        room.add(&name);
        peer.send(server, &[&name]).await.unwrap();
        let shown = alice.state(&room.id, "m.room.name", "").await.unwrap().ok().unwrap();
        assert_eq!(shown["name"], "Mallory's", "version {version}");
        alice.say(&room.id, "hello").await.unwrap();
        assert_others_are_served(server).await;
    }
}

#[tokio::test]
async fn the_level_for_messages_counts() {
    for version in VERSIONS {
        let levels = json!({ "events_default": 50 });
        let options = json!({
            "preset": "public_chat", "room_version": version, "power_level_content_override": levels,
        });
        let scene = Scene::set_with(options).await;
        let bob = support::user("bob").await;
        bob.join(&scene.room.id, &[]).await.unwrap();
        let content = json!({ "msgtype": "m.text", "body": "x" });
        let answer =
            bob.try_send(&scene.room.id, "m.room.message", "t", content.clone()).await.unwrap();
        answer.expect_error(403, "M_FORBIDDEN").unwrap();
        let message = scene.message("I may not");
        scene.deliver(&[&message]).await;
        assert!(!scene.is_shown(&message.id).await, "version {version}");
        // One kind of event may be let through.
        let mut power = scene.state("m.room.power_levels", "").await;
        power["events"]["m.reaction"] = json!(0);
        scene.alice.set_state(&scene.room.id, "m.room.power_levels", "", power).await.unwrap();
        bob.send(&scene.room.id, "m.reaction", json!({})).await.unwrap();
        let answer = bob.try_send(&scene.room.id, "m.room.message", "u", content).await.unwrap();
        answer.expect_error(403, "M_FORBIDDEN").unwrap();
        scene.alice.say(&scene.room.id, "I may").await.unwrap();
        assert_others_are_served(scene.server).await;
    }
}

/// The state behind a gap is asked for; what is in it must be proven like everything else.
#[tokio::test]
async fn a_state_is_not_taken_over_with_forgeries() {
    for version in VERSIONS {
        let mut scene = Scene::set(version).await;
        let (room, mallory) = (&scene.room, &scene.mallory);
        let carol = "@carol:elsewhere.example";
        let topic = json!({ "topic": "forged" });
        let note = room.state_draft(mallory, "org.example.note", "", topic.clone()).unwrap();
        let broken = scene.sealed(&note).with_broken_signature(&scene.peer.name);
        let hers = room.state_draft(&scene.alice.id, "m.room.topic", "", topic).unwrap();
        let forged = [
            scene.sealed(&room.member(carol, carol, "join").unwrap()),
            scene.sealed(&hers),
            broken,
        ];
        let kinds = ["m.room.create", "m.room.power_levels", "m.room.join_rules"];
        let mut state: Vec<Event> =
            kinds.iter().filter_map(|kind| room.state_event(kind, "")).collect();
        for user in [mallory, &scene.alice.id] {
            state.extend(room.state_event("m.room.member", user));
        }
        state.extend(forged.clone());
        let ids: Value = state.iter().map(|event| event.id.clone()).collect();
        let pdus: Value = state.iter().map(|event| event.pdu.clone()).collect();
        for event in &forged {
            room.keep(event);
        }
        scene.peer.answer("get_missing_events", Reply::ok(json!({ "events": [] })));
        scene.peer.answer("state_ids", Reply::ok(json!({ "pdu_ids": ids, "auth_chain_ids": [] })));
        scene.peer.answer("state", Reply::ok(json!({ "pdus": pdus, "auth_chain": [] })));
        let lost = scene.message("never told");
        let mut draft = scene.room.message(&scene.mallory, "after it").unwrap();
        draft["prev_events"] = scene.room.references([lost.id.as_str()]).unwrap();
        let after = scene.sealed(&draft);
        scene.deliver(&[&after]).await;
        assert_eq!(scene.state("m.room.topic", "").await, Value::Null, "version {version}");
        assert_eq!(scene.state("org.example.note", "").await, Value::Null, "version {version}");
        assert_eq!(scene.state("m.room.member", carol).await, Value::Null, "version {version}");
        scene.peer.be_honest();
        let hidden: Vec<_> = forged.into_iter().map(|event| ("a forgery", event)).collect();
        scene.goes_on_without(&hidden).await;
    }
}

/// Each event rests on another one that is not known, and so on.
#[tokio::test]
async fn authority_without_end_is_not_followed() {
    for version in ["11", "12"] {
        let mut scene = Scene::set(version).await;
        let before = scene.room.extremities();
        let mut chain: Vec<Event> = Vec::new();
        for number in 0..400 {
            let content = json!({ "membership": "join", "displayname": number.to_string() });
            let (room, mallory) = (&scene.room, &scene.mallory);
            let mut draft = room.state_draft(mallory, "m.room.member", mallory, content).unwrap();
            draft["prev_events"] = room.references(before.iter().map(String::as_str)).unwrap();
            if let Some(last) = chain.last() {
                let join = room.state_id("m.room.member", mallory).unwrap();
                let auth = starling_conformance::evil::references(&draft["auth_events"]);
                let auth = auth.iter().map(|id| if *id == join { last.id.as_str() } else { id });
                draft["auth_events"] = room.references(auth).unwrap();
            }
            let event = scene.sealed(&draft);
            room.keep(&event);
            chain.push(event);
        }
        let last = chain.pop().unwrap();
        scene.peer.answer("event_auth", Reply::error(404, "M_NOT_FOUND"));
        for _ in 0..3 {
            scene.deliver(&[&last]).await;
        }
        let pieces =
            ["event", "event_auth", "state", "state_ids", "get_missing_events", "backfill"];
        let asked: usize = pieces.iter().map(|piece| scene.peer.seen(piece).len()).sum();
        assert!(asked <= MOST_REQUESTS, "version {version}: {asked} questions");
        scene.peer.be_honest();
        scene.goes_on_without(&[]).await;
    }
}
