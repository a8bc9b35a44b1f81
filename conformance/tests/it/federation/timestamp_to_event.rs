//! GET /_matrix/federation/v1/timestamp_to_event/{roomId}

use http::Method;
use serde_json::json;
use starling_conformance::{client::Answer, client::path, evil::Peer};

use crate::{scene::Scene, support};

async fn ask(scene: &Scene, peer: &Peer, room: &str, query: &str) -> Answer {
    let target = path("/_matrix/federation/v1/timestamp_to_event/{}", &[room]);
    let target = format!("{target}?{query}");
    peer.request(scene.server, Method::GET, &target, None).await.unwrap()
}

#[tokio::test]
async fn a_member_of_the_room_is_told() {
    let mut scene = Scene::set("12").await;
    let said = scene.say("hello").await;
    let time = said.pdu["origin_server_ts"].as_i64().unwrap();
    let room = scene.room.id.clone();
    let found = ask(&scene, &scene.peer, &room, &format!("dir=b&ts={time}")).await;
    assert_eq!(found.ok().unwrap(), json!({ "event_id": said.id, "origin_server_ts": time }));
    for query in ["dir=b&ts=0", "dir=f&ts=9007199254740991"] {
        let answer = ask(&scene, &scene.peer, &room, query).await;
        answer.expect_error(404, "M_NOT_FOUND").unwrap();
    }
    for query in ["dir=x&ts=0", "dir=f", "dir=f&ts=-1"] {
        assert_eq!(ask(&scene, &scene.peer, &room, query).await.status, 400, "{query}");
    }
}

#[tokio::test]
async fn others_are_refused() {
    let scene = Scene::set("12").await;
    let stranger = support::peer().await;
    let answer = ask(&scene, &stranger, &scene.room.id, "dir=f&ts=0").await;
    answer.expect_error(403, "M_FORBIDDEN").unwrap();
    let answer = ask(&scene, &scene.peer, "!nowhere:example.org", "dir=f&ts=0").await;
    answer.expect_error(404, "M_NOT_FOUND").unwrap();
}
