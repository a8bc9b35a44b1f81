//! Aliases that are kept for an application service, and those that it makes.

use serde_json::json;
use starling_conformance::client::{Answer, Api, User, path};

use super::scene;

async fn put(api: &Api, alias: &str, room: &str) -> Answer {
    let target = path("/_matrix/client/v3/directory/room/{}", &[alias]);
    api.put(&target, json!({ "room_id": room })).await.unwrap()
}

async fn delete(api: &Api, alias: &str) -> Answer {
    api.delete(&path("/_matrix/client/v3/directory/room/{}", &[alias])).await.unwrap()
}

#[tokio::test]
async fn aliases_are_kept_for_application_services() {
    let scene = scene().await;
    let bridge = scene.bridge.api(&scene.server).unwrap();
    let alice = User::register(&scene.server, "alice").await.unwrap();
    let room = alice.create_public_room().await.unwrap();
    let kept = format!("#_irc_rust:{}", scene.server.name());
    let free = format!("#rust:{}", scene.server.name());
    put(&alice.api, &kept, &room).await.expect_error(400, "M_EXCLUSIVE").unwrap();
    let create = json!({ "room_alias_name": "_irc_rust" });
    let answer = alice.api.post("/_matrix/client/v3/createRoom", create.clone()).await.unwrap();
    answer.expect_error(400, "M_EXCLUSIVE").unwrap();
    put(&bridge, &free, &room).await.expect_error(400, "M_EXCLUSIVE").unwrap();
    // It has control over its aliases, whether it is in the room or not.
    put(&bridge, &kept, &room).await.ok().unwrap();
    put(&bridge, &kept, &room).await.expect_error(409, "M_UNKNOWN").unwrap();
    delete(&alice.api, &kept).await.expect_error(400, "M_EXCLUSIVE").unwrap();
    delete(&bridge, &kept).await.ok().unwrap();
    delete(&bridge, &kept).await.expect_error(404, "M_NOT_FOUND").unwrap();
    let answer = bridge.post("/_matrix/client/v3/createRoom", create).await.unwrap();
    answer.ok().unwrap();
    put(&alice.api, &free, &room).await.ok().unwrap();
    delete(&bridge, &free).await.expect_error(400, "M_EXCLUSIVE").unwrap();
    let nowhere = format!("!none:{}", scene.server.name());
    let another = format!("#_irc_b:{}", scene.server.name());
    put(&bridge, &another, &nowhere).await.expect_error(403, "M_FORBIDDEN").unwrap();
}
