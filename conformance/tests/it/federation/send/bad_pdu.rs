//! A bad event spoils neither its transaction nor those that follow.

use serde_json::{Value, json};
use starling_conformance::{client::path, evil::raw, servers::Kind};

use super::corpus;
use crate::scene::{Bad, Scene, VERSIONS, assert_others_are_served};

#[tokio::test]
async fn a_malformed_event_is_left_out_of_its_transaction() {
    for version in VERSIONS {
        let mut scene = Scene::set(version).await;
        let corpus = corpus::malformed(&scene);
        mixed_with_good_ones(&mut scene, corpus).await;
    }
}

#[tokio::test]
async fn a_forged_event_is_left_out_of_its_transaction() {
    for version in VERSIONS {
        let mut scene = Scene::set(version).await;
        let corpus = corpus::forged(&scene);
        mixed_with_good_ones(&mut scene, corpus).await;
    }
}

/// Each bad event goes out first, between and last in a transaction with two good ones.
async fn mixed_with_good_ones(scene: &mut Scene, corpus: Vec<Bad>) {
    let mut good = Vec::new();
    for (index, (name, bad)) in corpus.iter().enumerate() {
        let mut pair = Vec::new();
        for word in ["before", "after"] {
            let draft = scene.room.message(&scene.mallory, &format!("{word} {name}")).unwrap();
            pair.push(scene.peer.put_in(&scene.room, &draft).unwrap());
        }
        let mut pdus: Vec<Value> = pair.iter().map(|event| event.pdu.clone()).collect();
        pdus.insert(index % 3, bad.pdu.clone());
        let answer = scene.peer.send_pdus(scene.server, &pdus).await.unwrap();
        let results = answer.ok().unwrap_or_else(|error| panic!("{name}: {error:#}"));
        for event in &pair {
            assert_eq!(results["pdus"][&event.id], json!({}), "{name}: {results}");
        }
        good.extend(pair);
    }
    for event in &good {
        scene.sees(event).await;
    }
    scene.goes_on_without(&corpus).await;
}

#[tokio::test]
async fn an_event_for_an_unknown_room_is_left_out() {
    let mut scene = Scene::set("12").await;
    let nowhere = scene.peer.create_room("11", &scene.mallory).unwrap();
    let lost = scene.peer.seal(&nowhere, &nowhere.message(&scene.mallory, "lost").unwrap());
    let lost = lost.unwrap();
    let good = scene.message("in the room");
    scene.room.add(&good);
    scene.deliver(&[&lost, &good]).await;
    scene.sees(&good).await;
    scene.goes_on_without(&[]).await;
    let answer = scene.alice.event(&nowhere.id, &lost.id).await.unwrap();
    assert!(matches!(answer.status, 403 | 404), "{answer:?}");
}

#[tokio::test]
async fn a_transaction_that_broke_off_can_be_sent_again() {
    let mut scene = Scene::set("11").await;
    let corpus = corpus::malformed(&scene);
    for (index, (_, bad)) in corpus.iter().enumerate().take(8) {
        let good = scene.message(&format!("message {index}"));
        scene.room.add(&good);
        let pdus = json!([bad.pdu, good.pdu]);
        let id = format!("broken-off-{index}");
        let request = scene.peer.transaction(scene.server, &id, pdus.clone(), json!([]));
        // The connection goes when the request is dropped: at once, or while it is worked on.
        let patience = std::time::Duration::from_millis(index as u64);
        let _ = tokio::time::timeout(patience, request).await;
        let again = scene.peer.transaction(scene.server, &id, pdus, json!([])).await.unwrap();
        let results = again.ok().unwrap();
        assert_eq!(results["pdus"][&good.id], json!({}), "{results}");
        scene.sees(&good).await;
    }
    scene.goes_on_without(&[]).await;
    let timeline = scene.sync.timeline(&scene.room.id);
    for event in scene.room.timeline() {
        let times = timeline.iter().filter(|shown| shown["event_id"] == event.id.as_str()).count();
        assert!(times <= 1, "{} came {times} times", event.id);
    }
}

/// No server that has parsed such an event could pass it on, so nobody honest sends this.
#[tokio::test]
async fn json_that_parsers_read_differently_is_refused() {
    let mut scene = Scene::set("11").await;
    if scene.server.kind() == Kind::Synapse {
        return; // It answers 500 to some of this.
    }
    for odd in [r#"1,"odd":2"#, r#""\ud800""#, "NaN", "Infinity", "01", "+1", "1."] {
        let draft = scene.room.draft(&scene.mallory, "m.room.message", json!({ "odd": raw(odd) }));
        let event = scene.sealed(&draft.unwrap());
        let answer = scene.peer.send_pdus(scene.server, &[event.pdu]).await.unwrap();
        assert_eq!(answer.status, 400, "{odd}: {answer:?}");
        assert!(matches!(answer.errcode(), "M_NOT_JSON" | "M_BAD_JSON"), "{odd}: {answer:?}");
    }
    scene.goes_on_without(&[]).await;
}

#[tokio::test]
async fn what_is_no_transaction_is_refused() {
    let scene = Scene::set("12").await;
    let good = scene.message("never sent").pdu;
    let (pdus, edus): (Vec<&Value>, Vec<Value>) = (vec![&good; 51], vec![json!({}); 101]);
    let time = 1_700_000_000_000_i64;
    let name = &scene.peer.name;
    for (what, body) in [
        ("51 PDUs", json!({ "origin": name, "origin_server_ts": time, "pdus": pdus })),
        ("101 EDUs", json!({ "origin": name, "origin_server_ts": time, "pdus": [], "edus": edus })),
        ("no list of PDUs", json!({ "origin": name, "origin_server_ts": time, "pdus": {} })),
        (
            "text as EDUs",
            json!({ "origin": name, "origin_server_ts": time, "pdus": [], "edus": "x" }),
        ),
    ] {
        let target = path("/_matrix/federation/v1/send/{}", &[what]);
        let answer = scene.peer.put(scene.server, &target, &body).await.unwrap();
        assert_eq!(answer.status, 400, "{what}: {answer:?}");
    }
    assert_others_are_served(scene.server).await;
}
