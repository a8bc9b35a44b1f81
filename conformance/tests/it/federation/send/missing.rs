//! Events whose predecessors are not known: what the peer says about them is believed only as far as
//! it is proven.

use std::time::Duration;

use serde_json::{Value, json};
use starling_conformance::evil::{Event, Reply, Room};

use crate::scene::{Bad, Scene, VERSIONS, assert_others_are_served};

/// Messages of Mallory's that follow each other and are not sent yet.
fn unsent(scene: &Scene, names: &[&str]) -> Vec<Event> {
    let put_in = |name: &&str| {
        let draft = scene.room.message(&scene.mallory, name).unwrap();
        scene.peer.put_in(&scene.room, &draft).unwrap()
    };
    names.iter().map(put_in).collect()
}

fn events(events: &[Event]) -> Value {
    events.iter().map(|event| event.pdu.clone()).collect()
}

#[tokio::test]
async fn a_gap_is_filled() {
    for version in VERSIONS {
        let mut scene = Scene::set(version).await;
        let chain = unsent(&scene, &["one", "two", "three"]);
        scene.deliver(&[&chain[2]]).await;
        for event in &chain {
            scene.sees(event).await;
        }
        let timeline = scene.sync.timeline(&scene.room.id);
        let order: Vec<&str> = timeline
            .iter()
            .rev()
            .take(3)
            .filter_map(|event| event["content"]["body"].as_str())
            .collect();
        assert_eq!(order, ["three", "two", "one"], "version {version}");
        scene.goes_on_without(&[]).await;
    }
}

#[tokio::test]
async fn a_gap_is_not_filled_with_forgeries() {
    for version in VERSIONS {
        let mut scene = Scene::set(version).await;
        let chain = unsent(&scene, &["one", "two", "three"]);
        let broken = chain[1].with_broken_signature(&scene.peer.name);
        let in_her_name = scene.sealed(&scene.room.message(&scene.alice.id, "not hers").unwrap());
        let elsewhere = scene.peer.create_room(version, &scene.mallory).unwrap();
        let foreign = elsewhere.message(&scene.mallory, "of another room").unwrap();
        let foreign = scene.peer.seal(&elsewhere, &foreign).unwrap();
        let told =
            events(&[chain[0].clone(), broken.clone(), in_her_name.clone(), foreign.clone()]);
        scene.peer.answer("get_missing_events", Reply::ok(json!({ "events": told })));
        scene.peer.answer("backfill", Reply::ok(json!({ "pdus": told })));
        scene
            .peer
            .answer("event", Reply::ok(json!({ "pdus": events(std::slice::from_ref(&broken)) })));
        scene.peer.answer("state_ids", Reply::error(404, "M_NOT_FOUND"));
        scene.peer.answer("state", Reply::error(404, "M_NOT_FOUND"));
        scene.deliver(&[&chain[2]]).await;
        let corpus = [
            ("a broken signature", broken),
            ("a message in Alice's name", in_her_name),
            ("an event of another room", foreign),
        ];
        let mut begin_anew = scene.room.message(&scene.mallory, "anew").unwrap();
        let join = scene.room.state_id("m.room.member", &scene.mallory).unwrap();
        begin_anew["prev_events"] = scene.room.references([join.as_str()]).unwrap();
        scene.put_out(&begin_anew).await;
        for (name, event) in &corpus {
            assert!(!scene.is_shown(&event.id).await, "version {version}: {name}");
        }
        // The truth about the second event is still welcome.
        scene.peer.be_honest();
        scene.goes_on_without(&[]).await;
    }
}

#[tokio::test]
async fn odd_answers_to_questions_about_a_gap_do_no_harm() {
    let mut scene = Scene::set("11").await;
    let long: Value = (0..3000).map(|index| json!({ "odd": index })).collect();
    for (name, reply) in [
        ("no JSON", Reply::Bytes(200, "text/html", "<html>".into())),
        ("not UTF-8", Reply::Bytes(200, "application/json", [b'{', 0xff, b'}'].to_vec().into())),
        ("a list", Reply::ok(json!([]))),
        ("null", Reply::ok(Value::Null)),
        ("an empty object", Reply::ok(json!({}))),
        (
            "numbers as events",
            Reply::ok(
                json!({ "events": [1], "pdus": [1], "auth_chain": [null], "pdu_ids": [{}], "auth_chain_ids": [[]] }),
            ),
        ),
        (
            "text as events",
            Reply::ok(
                json!({ "events": "x", "pdus": "x", "auth_chain": "x", "pdu_ids": "x", "auth_chain_ids": "x" }),
            ),
        ),
        (
            "many events that are none",
            Reply::ok(
                json!({ "events": long, "pdus": long, "auth_chain": long, "pdu_ids": [], "auth_chain_ids": [] }),
            ),
        ),
        (
            "ids of nothing",
            Reply::ok(
                json!({ "events": [], "pdus": [], "auth_chain": [], "pdu_ids": ["$a:b", "", "x", "$"], "auth_chain_ids": ["$c:d"] }),
            ),
        ),
        ("an error", Reply::error(500, "M_UNKNOWN")),
        ("a redirection", Reply::Redirect(format!("https://{}/elsewhere", scene.peer.name))),
        ("no end", Reply::Endless),
    ] {
        scene.peer.script(move |request| {
            let asked = request.path.starts_with("/_matrix/federation/v1/");
            (asked && request.method != "PUT").then(|| reply.clone())
        });
        let lost = unsent(&scene, &[name, "after it"]);
        let answer = scene.peer.send_pdus(scene.server, &[lost[1].pdu.clone()]).await.unwrap();
        assert_eq!(answer.status, 200, "{name}: {answer:?}");
        assert_others_are_served(scene.server).await;
        scene.peer.be_honest();
        scene.say(&format!("valid, after {name}")).await;
    }
    assert!(scene.peer.seen("elsewhere").is_empty(), "a redirection was followed");
    scene.goes_on_without(&[]).await;
}

#[tokio::test]
async fn a_silent_peer_holds_up_nobody_else() {
    let mut scene = Scene::set("12").await;
    scene.peer.script(|request| {
        let asked = request.path.starts_with("/_matrix/federation/v1/");
        (asked && request.method != "PUT").then_some(Reply::Silence)
    });
    let lost = unsent(&scene, &["never told", "after it"]);
    let pdus = [lost[1].pdu.clone()];
    let sending = scene.peer.send_pdus(scene.server, &pdus);
    // The server is left waiting for an answer; what it does for others meanwhile is looked at.
    let _ = tokio::time::timeout(Duration::from_millis(500), sending).await;
    assert_others_are_served(scene.server).await;
    let id = scene.alice.say(&scene.room.id, "still here").await.unwrap();
    scene.sync.event_with_id(&scene.room.id, &id).await.unwrap();
    let other = Scene::set("12").await.say("another peer").await;
    assert!(!other.id.is_empty());
}

/// The room lets nobody but Alice speak; the peer claims a state in which that was not so.
#[tokio::test]
async fn a_state_that_the_peer_makes_up_gives_no_rights() {
    for version in VERSIONS {
        let mut scene = quiet_room(version).await;
        let mut corpus: Vec<Bad> = Vec::new();
        for (name, told) in
            [("nothing", Vec::new()), ("a state without power levels", state_without_power(&scene))]
        {
            let hidden = Room::empty(&scene.room.id, version);
            let before = scene.sealed(&scene.room.message(&scene.mallory, "never told").unwrap());
            hidden.add(&before);
            for draft in
                [scene.room.message(&scene.mallory, name).unwrap(), name_of_room(&scene, name)]
            {
                let mut draft = draft;
                draft["prev_events"] = scene.room.references([before.id.as_str()]).unwrap();
                draft["auth_events"] = auth_without_power(&scene);
                corpus.push((name, scene.sealed(&draft)));
            }
            let (ids, chain) = (ids(&told), json!([]));
            scene.peer.answer("get_missing_events", Reply::ok(json!({ "events": [] })));
            scene.peer.answer("event", Reply::error(404, "M_NOT_FOUND"));
            let reply = Reply::ok(json!({ "pdu_ids": ids, "auth_chain_ids": chain }));
            scene.peer.answer("state_ids", reply);
            let reply = Reply::ok(json!({ "pdus": events(&told), "auth_chain": chain }));
            scene.peer.answer("state", reply);
            let (_, message) = &corpus[corpus.len() - 2];
            let (_, state) = &corpus[corpus.len() - 1];
            scene.deliver(&[message, state]).await;
        }
        scene.peer.be_honest();
        assert_eq!(scene.state("m.room.name", "").await, Value::Null, "version {version}");
        let power = scene.state("m.room.power_levels", "").await;
        assert_eq!(power["events_default"], 50, "version {version}");
        for (name, event) in &corpus {
            assert!(!scene.is_shown(&event.id).await, "version {version}: {name}");
        }
        let id = scene.alice.say(&scene.room.id, "I may speak").await.unwrap();
        scene.sync.event_with_id(&scene.room.id, &id).await.unwrap();
        assert_others_are_served(scene.server).await;
    }
}

async fn quiet_room(version: &str) -> Scene {
    let levels = json!({ "events_default": 50, "state_default": 50 });
    let options = json!({
        "preset": "public_chat", "room_version": version, "power_level_content_override": levels,
    });
    Scene::set_with(options).await
}

fn name_of_room(scene: &Scene, name: &str) -> Value {
    let content = json!({ "name": name });
    scene.room.state_draft(&scene.mallory, "m.room.name", "", content).unwrap()
}

fn state_without_power(scene: &Scene) -> Vec<Event> {
    let kinds = [
        ("m.room.create", ""),
        ("m.room.member", scene.alice.id.as_str()),
        ("m.room.member", scene.mallory.as_str()),
        ("m.room.join_rules", ""),
    ];
    kinds.iter().filter_map(|(kind, key)| scene.room.state_event(kind, key)).collect()
}

fn auth_without_power(scene: &Scene) -> Value {
    let mut ids = vec![scene.room.state_id("m.room.member", &scene.mallory).unwrap()];
    if scene.room.version != "12" {
        ids.push(scene.room.state_id("m.room.create", "").unwrap());
    }
    scene.room.references(ids.iter().map(String::as_str)).unwrap()
}

fn ids(events: &[Event]) -> Value {
    events.iter().map(|event| event.id.clone()).collect()
}
