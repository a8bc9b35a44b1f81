//! GET /_matrix/federation/v1/publicRooms
//! POST /_matrix/federation/v1/publicRooms

use http::Method;
use serde_json::{Value, json};
use starling_conformance::{
    client::{User, encode},
    random,
};

use crate::support;

const ROOMS: &str = "/_matrix/federation/v1/publicRooms";

#[tokio::test]
async fn another_server_reads_and_searches_the_directory() {
    let spec = support::spec().with_setting("FEDERATION__ALLOW_PUBLIC_ROOMS", "true");
    let (server, peer) = (&support::start(spec).await, support::peer().await);
    let alice = User::register(server, "alice").await.unwrap();
    let name = format!("Hall {}", random::suffix().unwrap());
    let listed = json!({ "visibility": "public", "name": name });
    let room = alice.create_room(listed).await.unwrap();
    let secret = alice.create_room(json!({ "name": name })).await.unwrap();
    let search = json!({ "filter": { "generic_search_term": name.to_uppercase() }, "limit": 10 });
    let found = peer.request(server, Method::POST, ROOMS, Some(&search)).await.unwrap();
    let found = found.ok().unwrap();
    assert_eq!(ids(&found), [room.as_str()], "{found}");
    assert_eq!(found["chunk"][0]["num_joined_members"], 1);
    assert_eq!(found["chunk"][0]["join_rule"], "public");
    let mut from = String::new();
    let mut all = Vec::new();
    loop {
        let target = format!("{ROOMS}?limit=20{from}");
        let page = peer.get(server, &target).await.unwrap().ok().unwrap();
        all.extend(ids(&page).into_iter().map(str::to_owned));
        let Some(next) = page["next_batch"].as_str() else { break };
        from = format!("&since={}", encode(next));
    }
    assert!(all.contains(&room), "{all:?}");
    assert!(!all.contains(&secret), "{all:?}");
    let forged = peer.get(server, &format!("{ROOMS}?since=forged")).await.unwrap();
    forged.expect_error(400, "M_INVALID_PARAM").unwrap();
}

#[tokio::test]
async fn the_directory_is_for_the_servers_own_users_unless_it_is_opened() {
    let (server, peer) = (support::server().await, support::peer().await);
    peer.get(server, ROOMS).await.unwrap().expect_error(403, "M_FORBIDDEN").unwrap();
}

fn ids(page: &Value) -> Vec<&str> {
    let chunk = page["chunk"].as_array().unwrap();
    chunk.iter().filter_map(|room| room["room_id"].as_str()).collect()
}
