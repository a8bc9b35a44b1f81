//! GET /_matrix/federation/v1/query/directory
//! GET /_matrix/federation/v1/query/{queryType}

use serde_json::json;
use starling_conformance::{client::path, random};

use crate::support;

const QUERY: &str = "/_matrix/federation/v1/query/directory?room_alias={}";

#[tokio::test]
async fn another_server_learns_what_an_alias_names() {
    let (server, peer) = (support::server().await, support::peer().await);
    let alice = support::user("alice").await;
    let name = format!("hall-{}", random::suffix().unwrap());
    let room = alice.create_room(json!({ "room_alias_name": name })).await.unwrap();
    let ask = async |alias: &str| peer.get(server, &path(QUERY, &[alias])).await.unwrap();
    let found = ask(&format!("#{name}:{}", server.name())).await.ok().unwrap();
    assert_eq!(found["room_id"], room.as_str());
    assert_eq!(found["servers"], json!([server.name()]));
    for nobodys in ["#nothing-at-all:localhost", "#hall:other.example.org"] {
        ask(nobodys).await.expect_error(404, "M_NOT_FOUND").unwrap();
    }
    ask("hall").await.expect_error(400, "M_INVALID_PARAM").unwrap();
}
