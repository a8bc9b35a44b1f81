//! GET /_matrix/federation/v1/hierarchy/{roomId}

use http::Method;
use serde_json::json;
use starling_conformance::client::path;

use crate::{scene::Scene, support};

#[tokio::test]
async fn a_server_is_told_of_what_its_users_may_know() {
    let options = json!({ "preset": "public_chat", "room_version": "11",
                          "creation_content": { "type": "m.space" } });
    let scene = Scene::set_with(options).await;
    let (alice, space) = (&scene.alice, scene.room.id.as_str());
    let open = alice.create_public_room().await.unwrap();
    let closed = alice.create_room(json!({ "preset": "private_chat" })).await.unwrap();
    for child in [&open, &closed] {
        let content = json!({ "via": [scene.server.name()] });
        alice.set_state(space, "m.space.child", child, content).await.unwrap();
    }
    let target = path("/_matrix/federation/v1/hierarchy/{}", &[space]);
    let answer = scene.peer.get(scene.server, &target).await.unwrap().ok().unwrap();
    assert_eq!(answer["room"]["room_id"], space);
    assert_eq!(answer["room"]["children_state"].as_array().unwrap().len(), 2);
    assert_eq!(answer["children"].as_array().unwrap().len(), 1);
    assert_eq!(answer["children"][0]["room_id"], open.as_str());
    assert_eq!(answer["inaccessible_children"], json!([closed]));
}

#[tokio::test]
async fn others_are_told_nothing() {
    let scene = Scene::set("12").await;
    let closed = scene.alice.create_room(json!({ "preset": "private_chat" })).await.unwrap();
    for room in [closed.as_str(), "!nowhere:example.org"] {
        let target = path("/_matrix/federation/v1/hierarchy/{}", &[room]);
        let answer = scene.peer.get(scene.server, &target).await.unwrap();
        answer.expect_error(404, "M_NOT_FOUND").unwrap();
    }
    let target = path("/_matrix/federation/v1/hierarchy/{}", &[&scene.room.id]);
    let stranger = support::peer().await;
    let unsigned = stranger.request_as(scene.server, Method::GET, &target, None, None).await;
    unsigned.unwrap().expect_error(401, "M_UNAUTHORIZED").unwrap();
    let wrong = format!("{target}?suggested_only=perhaps");
    let answer = scene.peer.get(scene.server, &wrong).await.unwrap();
    answer.expect_error(400, "M_INVALID_PARAM").unwrap();
}
