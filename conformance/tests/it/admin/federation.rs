//! GET /_synapse/admin/v1/federation/destinations
//! and what else there is about the servers that are sent to.

use serde_json::{Value, json};
use starling_conformance::client::User;

use super::at;
use crate::support;

#[tokio::test]
async fn the_servers_that_are_sent_to_are_shown() {
    let (here, there) = support::pair().await;
    let admin = User::admin(here, "admin").await.unwrap();
    let alice = User::register(here, "alice").await.unwrap();
    let bob = User::register(there, "bob").await.unwrap();
    let room = alice.create_public_room().await.unwrap();
    bob.join(&room, &[here.name()]).await.unwrap();
    let get =
        async |target: String| -> Value { admin.api.get(&target).await.unwrap().ok().unwrap() };
    let list = get(at("/v1/federation/destinations", &[])).await;
    let servers = list["destinations"].as_array().unwrap();
    assert!(servers.iter().any(|it| it["destination"] == there.name()), "{list}");
    assert!(servers.iter().all(|it| it["destination"] != here.name()), "{list}");
    let one = get(at("/v1/federation/destinations/{}", &[there.name()])).await;
    assert_eq!((&one["retry_last_ts"], &one["failure_ts"]), (&json!(0), &Value::Null));
    let rooms = get(at("/v1/federation/destinations/{}/rooms?limit=1000", &[there.name()])).await;
    let rooms = rooms["rooms"].as_array().unwrap().clone();
    assert!(rooms.iter().any(|it| it["room_id"] == *room && it["stream_ordering"].is_i64()));

    let reset = at("/v1/federation/destinations/{}/reset_connection", &[there.name()]);
    admin.api.post(&reset, json!({})).await.unwrap().expect_error(400, "M_UNKNOWN").unwrap();
    for target in ["{}", "{}/rooms"] {
        let template = format!("/v1/federation/destinations/{target}");
        let answer = admin.api.get(&at(&template, &["unknown.example.org"])).await.unwrap();
        answer.expect_error(404, "M_NOT_FOUND").unwrap();
    }
}
