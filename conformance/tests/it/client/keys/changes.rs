//! GET /_matrix/client/v3/keys/changes

use std::time::Duration;

use serde_json::{Value, json};
use starling_conformance::client::{Sync, User, path};

use super::{device_keys, upload};
use crate::support;

fn names(lists: &Value, list: &str) -> Vec<String> {
    let names = lists[list].as_array().unwrap().iter();
    let mut names: Vec<String> = names.map(|name| name.as_str().unwrap().to_owned()).collect();
    names.sort();
    names
}

async fn token(user: &User) -> String {
    let answer = user.api.get("/_matrix/client/v3/sync").await.unwrap().ok().unwrap();
    answer["next_batch"].as_str().unwrap().to_owned()
}

async fn changes(user: &User, from: &str) -> (Vec<String>, Vec<String>) {
    let to = token(user).await;
    let target = path("/_matrix/client/v3/keys/changes?from={}&to={}", &[from, &to]);
    let lists = user.api.get(&target).await.unwrap().ok().unwrap();
    let synced = path("/_matrix/client/v3/sync?since={}", &[from]);
    let synced = user.api.get(&synced).await.unwrap().ok().unwrap();
    assert_eq!(lists, synced["device_lists"], "/sync says the same");
    (names(&lists, "changed"), names(&lists, "left"))
}

#[tokio::test]
async fn who_shares_a_room_is_told_of_changes() {
    let (alice, bob) = (support::user("alice").await, support::user("bob").await);
    let room = alice.create_public_room().await.unwrap();
    bob.join(&room, &[]).await.unwrap();
    let mut sync = Sync::start(&alice).await.unwrap();
    let stranger = support::user("stranger").await;
    let from = token(&alice).await;
    upload(&stranger, json!({ "device_keys": device_keys(&stranger, "s") })).await;
    assert_eq!(changes(&alice, &from).await, (vec![], vec![]));
    upload(&bob, json!({ "device_keys": device_keys(&bob, "b") })).await;
    assert_eq!(changes(&alice, &from).await, (vec![bob.id.clone()], vec![]));
    let told = |answer: &Value| answer["device_lists"]["changed"] == json!([bob.id]);
    sync.until("a change of devices", told).await.unwrap();
    let from = token(&alice).await;
    let device = path("/_matrix/client/v3/devices/{}", &[&bob.device]);
    bob.api.put(&device, json!({ "display_name": "desk" })).await.unwrap().ok().unwrap();
    assert_eq!(changes(&alice, &from).await.0, std::slice::from_ref(&bob.id));
    let from = token(&alice).await;
    bob.login().await.unwrap();
    assert_eq!(changes(&alice, &from).await.0, std::slice::from_ref(&bob.id));
    let from = token(&alice).await;
    upload(&bob, json!({ "device_keys": device_keys(&bob, "b") })).await;
    assert_eq!(changes(&alice, &from).await, (vec![], vec![]), "nothing changed");
}

#[tokio::test]
async fn one_is_told_with_whom_one_begins_and_ceases_to_share_rooms() {
    let (alice, bob) = (support::user("alice").await, support::user("bob").await);
    let ids = |users: &[&User]| {
        let mut ids: Vec<String> = users.iter().map(|user| user.id.clone()).collect();
        ids.sort();
        ids
    };
    let room = alice.create_public_room().await.unwrap();
    let (of_alice, of_bob) = (token(&alice).await, token(&bob).await);
    bob.join(&room, &[]).await.unwrap();
    assert_eq!(changes(&alice, &of_alice).await, (ids(&[&bob]), vec![]));
    assert_eq!(changes(&bob, &of_bob).await, (ids(&[&alice, &bob]), vec![]));
    let (of_alice, of_bob) = (token(&alice).await, token(&bob).await);

    let second = bob.create_public_room().await.unwrap();
    alice.join(&second, &[]).await.unwrap();
    assert_eq!(changes(&bob, &of_bob).await.1, Vec::<String>::new());
    let both = token(&bob).await;
    alice.leave(&second).await.unwrap();
    assert_eq!(changes(&bob, &both).await, (vec![], vec![]), "they still share a room");

    let of_alice_later = token(&alice).await;
    bob.leave(&room).await.unwrap();
    assert_eq!(changes(&alice, &of_alice_later).await, (vec![], ids(&[&bob])));
    assert_eq!(changes(&alice, &of_alice).await.1, ids(&[&bob]));
    assert_eq!(changes(&bob, &both).await, (vec![], ids(&[&alice])));
    let left = token(&alice).await;
    upload(&bob, json!({ "device_keys": device_keys(&bob, "b") })).await;
    assert_eq!(changes(&alice, &left).await, (vec![], vec![]), "it is none of her business");

    bob.join(&room, &[]).await.unwrap();
    assert_eq!(changes(&alice, &left).await, (ids(&[&bob]), vec![]));
    bob.leave(&room).await.unwrap();
    bob.join(&room, &[]).await.unwrap();
    assert_eq!(changes(&alice, &left).await, (ids(&[&bob]), vec![]));
}

#[tokio::test]
async fn a_display_name_is_no_change_of_devices() {
    let (alice, bob) = (support::user("alice").await, support::user("bob").await);
    let room = alice.create_public_room().await.unwrap();
    bob.join(&room, &[]).await.unwrap();
    let mut sync = Sync::start(&alice).await.unwrap();
    let content = json!({ "membership": "join", "displayname": "Robert" });
    let id = bob.set_state(&room, "m.room.member", &bob.id, content).await.unwrap();
    sync.event_with_id(&room, &id).await.unwrap();
    let answer = sync.poll(Duration::ZERO).await.unwrap();
    assert_eq!(answer["device_lists"], json!({ "changed": [], "left": [] }));
}

#[tokio::test]
async fn tokens_are_needed() {
    let alice = support::user("alice").await;
    let target = "/_matrix/client/v3/keys/changes";
    alice.api.get(target).await.unwrap().expect_error(400, "M_MISSING_PARAM").unwrap();
    let garbage = format!("{target}?from=x&to=y");
    alice.api.get(&garbage).await.unwrap().expect_error(400, "M_INVALID_PARAM").unwrap();
    let anonymous = support::anonymous().await.get(target).await.unwrap();
    anonymous.expect_error(401, "M_MISSING_TOKEN").unwrap();
}
