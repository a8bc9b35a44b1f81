//! Redactions by the peer: those that hold, in whatever order they come, and those that do not.

use serde_json::{Value, json};
use starling_conformance::{client::path, evil::Event};

use crate::{
    scene::{Scene, VERSIONS},
    support,
};

/// A redaction that says its target where this room version looks for it.
fn redaction(scene: &Scene, sender: &str, target: &str) -> Value {
    let within = matches!(scene.room.version.as_str(), "11" | "12");
    redaction_at(scene, sender, target, within)
}

fn redaction_at(scene: &Scene, sender: &str, target: &str, within_content: bool) -> Value {
    let content = if within_content { json!({ "redacts": target }) } else { json!({}) };
    let mut draft = scene.room.draft(sender, "m.room.redaction", content).unwrap();
    if !within_content {
        draft["redacts"] = target.into();
    }
    draft
}

async fn content(scene: &Scene, id: &str) -> Value {
    let event = scene.alice.event(&scene.room.id, id).await.unwrap().ok().unwrap();
    let redacted = event["unsigned"]["redacted_because"].is_object();
    assert_eq!(redacted, event["content"] == json!({}), "{event}");
    event["content"].clone()
}

/// Trent, another user of the peer, joins.
async fn trent(scene: &mut Scene) -> String {
    let trent = scene.peer.user("trent");
    scene.put_out(&scene.room.member(&trent, &trent, "join").unwrap()).await;
    trent
}

async fn make_moderator(scene: &mut Scene) {
    let mut power = scene.state("m.room.power_levels", "").await;
    power["users"][&scene.mallory] = json!(50);
    let id = scene.alice.set_state(&scene.room.id, "m.room.power_levels", "", power).await.unwrap();
    scene.sync.event_with_id(&scene.room.id, &id).await.unwrap();
    let arrived = |pdu: &Value| pdu["type"] == "m.room.power_levels";
    scene.peer.received_pdu("the power levels", arrived).await.unwrap();
}

#[tokio::test]
async fn a_moderator_redacts_also_what_comes_later() {
    for version in VERSIONS {
        let mut scene = Scene::set(version).await;
        let trent = trent(&mut scene).await;
        make_moderator(&mut scene).await;
        let first = scene.put_out(&scene.room.message(&trent, "in order").unwrap()).await;
        scene.put_out(&redaction(&scene, &scene.mallory, &first.id)).await;
        assert_eq!(content(&scene, &first.id).await, json!({}), "version {version}");
        // Both follow the same event, and the redaction comes first.
        let second = scene.sealed(&scene.room.message(&trent, "out of order").unwrap());
        let early = scene.sealed(&redaction(&scene, &scene.mallory, &second.id));
        scene.deliver(&[&early]).await;
        scene.deliver(&[&second]).await;
        scene.room.add(&early);
        scene.room.add(&second);
        scene.say("after both").await;
        assert_eq!(content(&scene, &second.id).await, json!({}), "version {version}");
        scene.goes_on_without(&[]).await;
    }
}

#[tokio::test]
async fn a_redaction_and_a_later_target_may_come_together() {
    for version in VERSIONS {
        let mut scene = Scene::set(version).await;
        let trent = trent(&mut scene).await;
        make_moderator(&mut scene).await;
        let said = scene.sealed(&scene.room.message(&trent, "out of order").unwrap());
        let early = scene.sealed(&redaction(&scene, &scene.mallory, &said.id));
        scene.deliver(&[&early, &said]).await;
        scene.room.add(&early);
        scene.room.add(&said);
        scene.say("after both").await;
        assert_eq!(content(&scene, &said.id).await, json!({}), "version {version}");
        scene.goes_on_without(&[]).await;
    }
}

/// A moderator may know of an event, by its report for example, before the server does.
#[tokio::test]
async fn what_is_not_known_here_is_redacted_when_it_comes() {
    for version in VERSIONS {
        let mut scene = Scene::set(version).await;
        let said = scene.message("not yet known");
        let bob = support::user("bob").await;
        bob.join(&scene.room.id, &[]).await.unwrap();
        let target = path("/_matrix/client/v3/rooms/{}/redact/{}/1", &[&scene.room.id, &said.id]);
        bob.api.put(&target, json!({})).await.unwrap().expect_error(404, "M_NOT_FOUND").unwrap();
        let redaction = scene.alice.redact(&scene.room.id, &said.id).await.unwrap();
        let is_it = |pdu: &Value| pdu["type"] == "m.room.redaction";
        let sent = scene.peer.received_pdu("the redaction", is_it).await.unwrap();
        let within = matches!(version, "11" | "12");
        let place = if within { &sent["content"]["redacts"] } else { &sent["redacts"] };
        assert_eq!(place, said.id.as_str(), "version {version}: {sent}");
        scene.sync.event_with_id(&scene.room.id, &redaction).await.unwrap();
        scene.deliver(&[&said]).await;
        scene.sees(&said).await;
        assert_eq!(content(&scene, &said.id).await, json!({}), "version {version}");
    }
}

#[tokio::test]
async fn one_redacts_what_is_of_the_same_server_and_nothing_else() {
    for version in VERSIONS {
        let mut scene = Scene::set(version).await;
        let trent = trent(&mut scene).await;
        let hers = scene.alice.say(&scene.room.id, "Alice's").await.unwrap();
        scene.peer.received_pdu("hers", |pdu| pdu["content"]["body"] == "Alice's").await.unwrap();
        let his = scene.put_out(&scene.room.message(&trent, "Trent's").unwrap()).await;
        let foreign = scene.sealed(&redaction(&scene, &scene.mallory, &hers));
        let own = scene.sealed(&redaction(&scene, &scene.mallory, &his.id));
        scene.deliver(&[&foreign, &own]).await;
        scene.say("after both").await;
        assert_eq!(content(&scene, &hers).await["body"], "Alice's", "version {version}");
        assert_eq!(content(&scene, &his.id).await, json!({}), "version {version}");
        scene.goes_on_without(&[("a redaction without effect", foreign)]).await;
    }
}

#[tokio::test]
async fn an_event_of_another_room_is_not_redacted() {
    for version in VERSIONS {
        let mut scene = Scene::set(version).await;
        make_moderator(&mut scene).await;
        let mut other = Scene::set(version).await;
        let elsewhere = other.say("in another room").await;
        let missed = scene.sealed(&redaction(&scene, &scene.mallory, &elsewhere.id));
        scene.deliver(&[&missed]).await;
        // In version 1 a redaction is an event like others, even where it redacts nothing.
        let hidden = if version == "1" { Vec::new() } else { vec![("it", missed)] };
        scene.goes_on_without(&hidden).await;
        let body = content(&other, &elsewhere.id).await;
        assert_eq!(body["body"], "in another room", "version {version}");
        let ids = [scene.room.id.as_str(), elsewhere.id.as_str()];
        let target = path("/_matrix/client/v3/rooms/{}/redact/{}/1", &ids);
        // In this room it is an event that is not known, which may be redacted before it comes.
        let answer = scene.alice.api.put(&target, json!({})).await.unwrap();
        assert!(matches!(answer.status, 200 | 400 | 403 | 404), "{answer:?}");
        let body = content(&other, &elsewhere.id).await;
        assert_eq!(body["body"], "in another room", "version {version}");
    }
}

/// The target stands in the content since room version 11, and beside it before.
#[tokio::test]
async fn the_target_is_looked_for_where_the_room_version_puts_it() {
    for (version, within) in [("10", false), ("11", true)] {
        let mut scene = Scene::set(version).await;
        make_moderator(&mut scene).await;
        let kept = scene.say("kept").await;
        let misplaced = scene.sealed(&redaction_at(&scene, &scene.mallory, &kept.id, !within));
        scene.deliver(&[&misplaced]).await;
        scene.say("after the misplaced").await;
        assert_eq!(content(&scene, &kept.id).await["body"], "kept", "version {version}");
        let gone = scene.say("gone").await;
        let draft = redaction_at(&scene, &scene.mallory, &gone.id, within);
        let redaction = scene.put_out(&draft).await;
        assert_eq!(content(&scene, &gone.id).await, json!({}), "version {version}");
        // Clients find it in both places.
        let shown = scene.sees(&redaction).await;
        assert_eq!(shown["redacts"], gone.id.as_str(), "version {version}: {shown}");
        assert_eq!(shown["content"]["redacts"], gone.id.as_str(), "version {version}: {shown}");
        scene.goes_on_without(&[]).await;
    }
}

/// In versions 1 and 2 two redactions can name each other.
#[tokio::test]
async fn redactions_of_each_other_do_no_harm() {
    let mut scene = Scene::set("1").await;
    let id = |name: &str| format!("${name}:{}", scene.peer.name);
    let circular = |own: &str, other: &str| {
        let mut draft = redaction(&scene, &scene.mallory, &id(other));
        draft["event_id"] = id(own).into();
        draft["content"]["reason"] = own.into();
        scene.sealed(&draft)
    };
    let events = [
        circular("one", "other"),
        circular("other", "one"),
        circular("itself", "itself"),
        circular("a", "b"),
        circular("b", "c"),
        circular("c", "a"),
    ];
    let all: Vec<&Event> = events.iter().collect();
    scene.deliver(&all).await;
    for event in &events {
        scene.room.add(event);
    }
    scene.goes_on_without(&[]).await;
    let history = scene.alice.history(&scene.room.id).await.unwrap();
    assert_eq!(history[0]["type"], "m.room.create");
}

#[tokio::test]
async fn a_room_outlives_the_redaction_of_what_it_stands_on() {
    for version in VERSIONS {
        let mut scene = Scene::set(version).await;
        let id = |kind: &str, key: &str| scene.room.state_id(kind, key).unwrap();
        let targets = [
            id("m.room.power_levels", ""),
            id("m.room.join_rules", ""),
            id("m.room.history_visibility", ""),
            id("m.room.member", &scene.alice.id),
            id("m.room.member", &scene.mallory),
        ];
        let before = scene.state("m.room.power_levels", "").await["users"].clone();
        // Whether this is allowed is left to the server.
        let create = [scene.room.id.clone(), id("m.room.create", "")];
        let create = path("/_matrix/client/v3/rooms/{}/redact/{}/1", &[&create[0], &create[1]]);
        let answer = scene.alice.api.put(&create, json!({})).await.unwrap();
        assert!(matches!(answer.status, 200 | 403), "{answer:?}");
        let mut redactions = Vec::new();
        for target in &targets {
            redactions.push(scene.alice.redact(&scene.room.id, target).await.unwrap());
        }
        // A redaction can be redacted, and what is redacted once more.
        scene.alice.redact(&scene.room.id, &redactions[0]).await.unwrap();
        let last = scene.alice.redact(&scene.room.id, &targets[3]).await.unwrap();
        scene.sync.event_with_id(&scene.room.id, &last).await.unwrap();
        let create = scene.state("m.room.create", "").await;
        let creator_or_version = if matches!(version, "11" | "12") {
            &create["room_version"]
        } else {
            &create["creator"]
        };
        assert!(creator_or_version.is_string(), "version {version}: {create}");
        assert_eq!(scene.state("m.room.power_levels", "").await["users"], before);
        let me = scene.alice.id.clone();
        assert_eq!(scene.state("m.room.member", &me).await["membership"], "join");
        let newcomer = scene.peer.user("newcomer");
        let room = scene.peer.join(scene.server, &scene.room.id, &newcomer).await.unwrap();
        scene.sync.membership(&room.id, &newcomer, "join").await.unwrap();
        scene.alice.say(&room.id, "still here").await.unwrap();
        scene.peer.received_pdu("it", |pdu| pdu["content"]["body"] == "still here").await.unwrap();
        scene.goes_on_without(&[]).await;
    }
}
