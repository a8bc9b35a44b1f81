//! GET /_matrix/federation/v1/user/devices/{userId}

use serde_json::json;
use starling_conformance::client::path;

use crate::{
    client::keys::{device_keys, upload},
    scene::Scene,
    support,
};

fn target(user: &str) -> String {
    path("/_matrix/federation/v1/user/devices/{}", &[user])
}

#[tokio::test]
async fn who_shares_a_room_is_told_of_devices_with_their_names() {
    let scene = Scene::set("12").await;
    let alice = &scene.alice;
    let second = alice.login().await.unwrap();
    let keys = device_keys(alice, "a");
    upload(alice, json!({ "device_keys": keys })).await;
    let device = path("/_matrix/client/v3/devices/{}", &[&alice.device]);
    alice.api.put(&device, json!({ "display_name": "the desk" })).await.unwrap().ok().unwrap();
    let answer = scene.peer.get(scene.server, &target(&alice.id)).await.unwrap().ok().unwrap();
    assert_eq!(answer["user_id"], alice.id.as_str());
    assert!(answer["stream_id"].as_i64().unwrap() > 0, "{answer}");
    let wanted = json!([{
        "device_id": alice.device, "device_display_name": "the desk", "keys": keys,
    }]);
    assert_eq!(answer["devices"], wanted, "{} has no keys", second.device);
    let stranger = support::peer().await;
    let answer = stranger.get(scene.server, &target(&alice.id)).await.unwrap().ok().unwrap();
    assert_eq!(answer["devices"], json!([{ "device_id": alice.device, "keys": keys }]));
}

#[tokio::test]
async fn only_users_of_the_server_have_devices_here() {
    let peer = support::peer().await;
    let server = support::server().await;
    for user in [format!("@nobody:{}", server.name()), peer.user("own")] {
        let answer = peer.get(server, &target(&user)).await.unwrap();
        answer.expect_error(404, "M_NOT_FOUND").unwrap();
    }
    let target = target("@nobody:example.org");
    let answer = peer.request_as(server, http::Method::GET, &target, None, None).await.unwrap();
    assert_eq!(answer.status, 401);
}
