//! GET /_matrix/client/v3/directory/room/{roomAlias}
//! PUT /_matrix/client/v3/directory/room/{roomAlias}
//! DELETE /_matrix/client/v3/directory/room/{roomAlias}

use serde_json::json;
use starling_conformance::{
    client::{User, path},
    random,
};

use crate::support;

fn target(alias: &str) -> String {
    path("/_matrix/client/v3/directory/room/{}", &[alias])
}

/// An alias that nobody has, on the server of this user.
fn free_alias(user: &User) -> String {
    let (_, server) = user.id.split_once(':').unwrap();
    format!("#hall-{}:{server}", random::suffix().unwrap())
}

#[tokio::test]
async fn an_alias_names_one_room_until_it_is_removed() {
    let alice = support::user("alice").await;
    let bob = support::user("bob").await;
    let room = alice.create_public_room().await.unwrap();
    let alias = target(&free_alias(&alice));
    let anybody = support::anonymous().await;
    let missing = anybody.get(&alias).await.unwrap();
    missing.expect_error(404, "M_NOT_FOUND").unwrap();
    let body = json!({ "room_id": room });
    let stranger = bob.api.put(&alias, body.clone()).await.unwrap();
    stranger.expect_error(403, "M_FORBIDDEN").unwrap();
    alice.api.put(&alias, body.clone()).await.unwrap().ok().unwrap();
    assert_eq!(anybody.get(&alias).await.unwrap().ok().unwrap()["room_id"], room.as_str());
    alice.api.put(&alias, body).await.unwrap().expect_error(409, "M_UNKNOWN").unwrap();
    bob.api.delete(&alias).await.unwrap().expect_error(403, "M_FORBIDDEN").unwrap();
    alice.api.delete(&alias).await.unwrap().ok().unwrap();
    alice.api.delete(&alias).await.unwrap().expect_error(404, "M_NOT_FOUND").unwrap();
}

#[tokio::test]
async fn an_alias_has_its_form_and_belongs_to_its_server() {
    let alice = support::user("alice").await;
    let room = alice.create_public_room().await.unwrap();
    let body = json!({ "room_id": room });
    let read = alice.api.get(&target("hall")).await.unwrap();
    read.expect_error(400, "M_INVALID_PARAM").unwrap();
    for alias in ["hall", "#hall:other.example.org"] {
        let written = alice.api.put(&target(alias), body.clone()).await.unwrap();
        written.expect_error(400, "M_INVALID_PARAM").unwrap();
    }
}
