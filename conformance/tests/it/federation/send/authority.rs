//! What an event rests on: its hash, its auth events, the state before it.

use serde_json::{Value, json};
use starling_conformance::{client::path, evil::Event};

use crate::scene::{Bad, Scene, VERSIONS};

#[tokio::test]
async fn an_event_with_a_wrong_hash_comes_through_redacted() {
    for version in VERSIONS {
        let mut scene = Scene::set(version).await;
        let mut draft = scene.room.message(&scene.mallory, "not what was hashed").unwrap();
        draft["hashes"] = json!({ "sha256": "A".repeat(43) });
        let event = scene.sealed(&draft);
        scene.deliver(&[&event]).await;
        scene.say("valid, after a wrong hash").await;
        let shown = scene.sees(&event).await;
        assert_eq!(shown["content"], json!({}), "version {version}: {shown}");
        let looked_up = scene.alice.event(&scene.room.id, &event.id).await.unwrap().ok().unwrap();
        assert_eq!(looked_up["content"], json!({}), "version {version}: {looked_up}");
    }
}

#[tokio::test]
async fn an_event_needs_exactly_the_auth_events_of_its_kind_and_room() {
    for version in VERSIONS {
        let mut scene = Scene::set(version).await;
        let corpus = wrong_auth_events(&scene).await;
        for (_, event) in &corpus {
            scene.deliver(&[event]).await;
        }
        scene.goes_on_without(&corpus).await;
    }
}

async fn wrong_auth_events(scene: &Scene) -> Vec<Bad> {
    let (room, mallory) = (&scene.room, &scene.mallory);
    let id = |kind: &str, key: &str| room.state_id(kind, key).unwrap();
    let (create, power) = (id("m.room.create", ""), id("m.room.power_levels", ""));
    let (member, rules) = (id("m.room.member", mallory), id("m.room.join_rules", ""));
    let creates_are_named = room.version != "12";
    let needed: Vec<&str> = match creates_are_named {
        true => vec![&create, &power, &member],
        false => vec![&power, &member],
    };
    let draft = room.message(mallory, "said").unwrap();
    let said = scene.peer.put_out(scene.server, room, &draft).await.unwrap().id;
    let elsewhere = in_another_room(scene).await;
    let mut corpus: Vec<Bad> = Vec::new();
    let mut add = |name: &'static str, ids: Vec<&str>| {
        let mut draft = room.message(mallory, name).unwrap();
        draft["auth_events"] = room.references(ids).unwrap();
        corpus.push((name, scene.sealed(&draft)));
    };
    add("no auth events", vec![]);
    add("no membership", needed.iter().copied().filter(|id| **id != member).collect());
    add("the same auth event twice", [&needed[..], &[&member]].concat());
    add("an auth event that is not needed", [&needed[..], &[&rules]].concat());
    add("a message as auth event", [&needed[..], &[&said]].concat());
    add("an auth event that nobody has", [&needed[..], &["$nobodyhasthis:example.org"]].concat());
    add("an auth event of another room as well", [&needed[..], &[&elsewhere]].concat());
    let replaced = needed.iter().map(|id| if **id == member { &elsewhere } else { *id });
    add("membership of another room", replaced.collect());
    if creates_are_named {
        add("no creation", needed.iter().copied().filter(|id| **id != create).collect());
    } else {
        add("the creation named", [&needed[..], &[&create]].concat());
    }
    corpus
}

/// The id of Mallory's membership in another room of Alice's.
async fn in_another_room(scene: &Scene) -> String {
    let options = json!({ "preset": "public_chat", "room_version": scene.room.version });
    let other = scene.alice.create_room(options).await.unwrap();
    let other = scene.peer.join(scene.server, &other, &scene.mallory).await.unwrap();
    other.state_id("m.room.member", &scene.mallory).unwrap()
}

/// In versions 1 and 2 an event names itself, so that it can rest on itself.
#[tokio::test]
async fn events_that_rest_on_each_other_are_not_accepted() {
    let mut scene = Scene::set("1").await;
    let corpus = [
        ("its own auth event", circular(&scene, "itself", "itself", "auth_events")),
        ("auth events of each other", circular(&scene, "one", "other", "auth_events")),
        ("auth events of each other", circular(&scene, "other", "one", "auth_events")),
        ("its own previous event", circular(&scene, "own", "own", "prev_events")),
    ];
    for (_, event) in &corpus {
        scene.deliver(&[event]).await;
    }
    let all: Vec<&Event> = corpus.iter().map(|(_, event)| event).collect();
    scene.deliver(&all).await;
    scene.goes_on_without(&corpus).await;
}

/// Whether such events are taken or not: the room has an end to go on from, and a beginning.
#[tokio::test]
async fn events_that_follow_each_other_do_not_close_the_room() {
    for version in ["1", "2"] {
        let mut scene = Scene::set(version).await;
        let first = circular(&scene, "first", "second", "prev_events");
        let second = circular(&scene, "second", "first", "prev_events");
        scene.deliver(&[&first, &second]).await;
        scene.deliver(&[&second]).await;
        let id = scene.alice.say(&scene.room.id, "out of the circle").await.unwrap();
        let pdu =
            scene.peer.received_pdu("it", |pdu| pdu["content"]["body"] == "out of the circle");
        let pdu = pdu.await.unwrap();
        assert_ne!(pdu["prev_events"], json!([]), "version {version}: {pdu}");
        scene.say("valid, after a circle").await;
        let history = scene.alice.history(&scene.room.id).await.unwrap();
        assert_eq!(history[0]["type"], "m.room.create");
        assert_eq!(history.iter().filter(|event| event["event_id"] == id.as_str()).count(), 1);
        let room = [scene.room.id.as_str(), id.as_str()];
        let target = path("/_matrix/federation/v1/backfill/{}?limit=100&v={}", &room);
        scene.peer.get(scene.server, &target).await.unwrap().ok().unwrap();
        let target = path("/_matrix/federation/v1/get_missing_events/{}", &room[..1]);
        let body = json!({ "earliest_events": [], "latest_events": [id], "limit": 100 });
        scene.peer.post(scene.server, &target, &body).await.unwrap().ok().unwrap();
        scene.goes_on_without(&[]).await;
    }
}

/// A message of Mallory's with a name of its own, which refers to another one by name.
fn circular(scene: &Scene, own: &str, other: &str, field: &str) -> Event {
    let id = |name: &str| format!("${name}:{}", scene.peer.name);
    let mut draft = scene.room.message(&scene.mallory, "turning in circles").unwrap();
    draft["event_id"] = id(own).into();
    let mut list = draft[field].as_array().unwrap().clone();
    list.push(json!([id(other), { "sha256": "A".repeat(43) }]));
    draft[field] = list.into();
    scene.sealed(&draft)
}

#[tokio::test]
async fn what_rests_on_a_rejected_event_is_rejected_but_not_what_follows_it() {
    for version in VERSIONS {
        let mut scene = Scene::set(version).await;
        let rejected = grab_power(&scene);
        let mut child = scene.room.message(&scene.mallory, "after the rejected").unwrap();
        child["prev_events"] = scene.room.references([rejected.id.as_str()]).unwrap();
        let child = scene.sealed(&child);
        let mut heir = scene.room.message(&scene.mallory, "by right of the rejected").unwrap();
        heir["auth_events"] = with_power(&scene, &rejected);
        let heir = scene.sealed(&heir);
        scene.deliver(&[&rejected]).await;
        scene.deliver(&[&heir, &child]).await;
        scene.sees(&child).await;
        scene.room.add(&child);
        assert_ne!(scene.state("m.room.power_levels", "").await["users"][&scene.mallory], 100);
        scene.goes_on_without(&[("the rejected event", rejected), ("its heir", heir)]).await;
    }
}

fn grab_power(scene: &Scene) -> Event {
    let content = json!({ "users": { &scene.mallory: 100 } });
    let draft = scene.room.state_draft(&scene.mallory, "m.room.power_levels", "", content);
    scene.sealed(&draft.unwrap())
}

/// The auth events of a message of Mallory's, with another power levels event.
fn with_power(scene: &Scene, power: &Event) -> Value {
    let kinds = [("m.room.create", ""), ("m.room.member", scene.mallory.as_str())];
    let mut ids: Vec<String> =
        kinds.iter().map(|(kind, key)| scene.room.state_id(kind, key).unwrap()).collect();
    if scene.room.version == "12" {
        ids.remove(0);
    }
    ids.push(power.id.clone());
    scene.room.references(ids.iter().map(String::as_str)).unwrap()
}

#[tokio::test]
async fn a_rejected_visibility_opens_nothing() {
    for version in VERSIONS {
        let visibility = json!({
            "type": "m.room.history_visibility",
            "content": { "history_visibility": "joined" },
        });
        let options = json!({
            "preset": "public_chat", "room_version": version, "initial_state": [visibility],
        });
        let mut scene = Scene::set_with(options).await;
        let open = json!({ "history_visibility": "world_readable" });
        let draft = scene.room.state_draft(&scene.mallory, "m.room.history_visibility", "", open);
        let rejected = scene.sealed(&draft.unwrap());
        let mut child = scene.room.message(&scene.mallory, "still among us").unwrap();
        child["prev_events"] = scene.room.references([rejected.id.as_str()]).unwrap();
        let child = scene.sealed(&child);
        scene.deliver(&[&rejected, &child]).await;
        scene.sees(&child).await;
        scene.room.add(&child);
        let visibility = scene.state("m.room.history_visibility", "").await;
        assert_eq!(visibility["history_visibility"], "joined", "version {version}");
        let stranger = crate::support::user("stranger").await;
        let answer = stranger.event(&scene.room.id, &child.id).await.unwrap();
        assert!(matches!(answer.status, 403 | 404), "version {version}: {answer:?}");
        scene.goes_on_without(&[("an open history", rejected)]).await;
    }
}
