//! GET /_matrix/client/v3/publicRooms
//! POST /_matrix/client/v3/publicRooms

use serde_json::{Value, json};
use starling_conformance::{
    client::{User, path},
    servers::Server,
};

use crate::support;

const ROOMS: &str = "/_matrix/client/v3/publicRooms";

/// A server whose directory lists what one test puts there, and somebody on it.
async fn alone() -> (Server, User) {
    let spec = support::spec().with_setting("FEDERATION__ALLOW_PUBLIC_ROOMS", "true");
    let server = support::start(spec).await;
    let alice = User::register(&server, "alice").await.unwrap();
    (server, alice)
}

async fn list(user: &User, options: Value) -> String {
    let mut body = json!({ "preset": "public_chat", "visibility": "public" });
    body.as_object_mut().unwrap().extend(options.as_object().unwrap().clone());
    user.create_room(body).await.unwrap()
}

async fn get(user: &User, query: &str) -> Value {
    user.api.get(&format!("{ROOMS}{query}")).await.unwrap().ok().unwrap()
}

async fn post(user: &User, body: Value) -> Value {
    user.api.post(ROOMS, body).await.unwrap().ok().unwrap()
}

fn ids(page: &Value) -> Vec<&str> {
    let chunk = page["chunk"].as_array().unwrap();
    chunk.iter().map(|room| room["room_id"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn rooms_are_listed_with_what_they_show() {
    let (_server, alice) = alone().await;
    let room = list(&alice, json!({
        "name": "Orchard", "topic": "Apples", "room_alias_name": "orchard",
        "initial_state": [
            { "type": "m.room.history_visibility", "content": { "history_visibility": "world_readable" } },
            { "type": "m.room.avatar", "content": { "url": "mxc://example.org/apple" } },
        ],
    }))
    .await;
    alice.create_public_room().await.unwrap();
    let page = get(&alice, "").await;
    assert_eq!(page["total_room_count_estimate"], 1);
    let alias = format!("#orchard:{}", alice.id.split_once(':').unwrap().1);
    assert_eq!(
        page["chunk"],
        json!([{
            "room_id": room, "name": "Orchard", "topic": "Apples", "canonical_alias": alias,
            "avatar_url": "mxc://example.org/apple", "num_joined_members": 1, "world_readable": true,
            "guest_can_join": false, "join_rule": "public",
        }])
    );
    assert_eq!(post(&alice, json!({})).await, page);
    let unlisted = path("/_matrix/client/v3/directory/list/room/{}", &[&room]);
    let private = json!({ "visibility": "private" });
    alice.api.put(&unlisted, private).await.unwrap().ok().unwrap();
    assert_eq!(get(&alice, "").await["chunk"], json!([]));
}

#[tokio::test]
async fn pages_go_on_and_back() {
    let (server, alice) = alone().await;
    let bob = User::register(&server, "bob").await.unwrap();
    for _ in 0..5 {
        list(&alice, json!({})).await;
    }
    let largest = list(&alice, json!({})).await;
    bob.join(&largest, &[]).await.unwrap();
    let all = get(&alice, "").await;
    let all = ids(&all);
    assert_eq!((all.len(), all[0]), (6, &*largest), "the largest room comes first");
    let first = get(&alice, "?limit=4").await;
    assert_eq!((ids(&first), first.get("prev_batch")), (all[..4].to_vec(), None));
    let second = post(&alice, json!({ "limit": 4, "since": first["next_batch"] })).await;
    assert_eq!((ids(&second), second.get("next_batch")), (all[4..].to_vec(), None));
    let back = post(&alice, json!({ "limit": 4, "since": second["prev_batch"] })).await;
    assert_eq!(back, first);
    assert_eq!(ids(&get(&alice, "?limit=1000000000").await), all);
}

#[tokio::test]
async fn rooms_are_found_by_words_and_types() {
    let (_server, alice) = alone().await;
    let name = list(&alice, json!({ "name": "Äpfel & Birnen" })).await;
    let topic = list(&alice, json!({ "topic": "nur ÄPFEL" })).await;
    let alias = list(&alice, json!({ "room_alias_name": "obst" })).await;
    let space = json!({ "creation_content": { "type": "m.space" }, "name": "Obst" });
    let space = list(&alice, space).await;
    for (filter, mut found) in [
        (json!({ "generic_search_term": "äpfel" }), vec![&*name, &*topic]),
        (json!({ "generic_search_term": "obst" }), vec![&*alias, &*space]),
        (json!({ "generic_search_term": "nichts" }), vec![]),
        (json!({ "generic_search_term": "obst", "room_types": ["m.space"] }), vec![&*space]),
        (json!({ "room_types": ["m.space"] }), vec![&*space]),
        (json!({ "room_types": [null] }), vec![&*name, &*topic, &*alias]),
        (json!({ "room_types": [null, "m.space"] }), vec![&*name, &*topic, &*alias, &*space]),
        (json!({ "room_types": ["org.example"] }), vec![]),
        (json!({ "room_types": [] }), vec![]),
        (json!({}), vec![&*name, &*topic, &*alias, &*space]),
    ] {
        let page = post(&alice, json!({ "filter": filter })).await;
        let mut ids = ids(&page);
        ids.sort_unstable();
        found.sort_unstable();
        assert_eq!(ids, found, "{filter}");
        assert_eq!(page["total_room_count_estimate"], found.len(), "{filter}");
    }
}

#[tokio::test]
async fn networks_of_application_services_have_their_own_rooms() {
    let (_server, alice) = alone().await;
    let room = list(&alice, json!({})).await;
    let every = post(&alice, json!({ "include_all_networks": true })).await;
    assert_eq!(ids(&every), [&*room]);
    let none = post(&alice, json!({ "third_party_instance_id": "irc" })).await;
    assert_eq!((ids(&none), &none["total_room_count_estimate"]), (vec![], &json!(0)));
    let both = json!({ "include_all_networks": true, "third_party_instance_id": "irc" });
    let refused = alice.api.post(ROOMS, both).await.unwrap();
    refused.expect_error(400, "M_INVALID_PARAM").unwrap();
}

#[tokio::test]
async fn other_servers_are_asked_for_their_rooms() {
    let (server, alice) = alone().await;
    let (_other, bob) = alone().await;
    let apples = list(&alice, json!({ "name": "Apples" })).await;
    let pears = list(&alice, json!({ "name": "Pears" })).await;
    let target = path("?server={}", &[server.name()]);
    let mut both = [&*apples, &*pears];
    both.sort_unstable();
    let page = get(&bob, &target).await;
    let mut found = ids(&page);
    found.sort_unstable();
    assert_eq!(found, both);
    let target = format!("{ROOMS}{target}");
    let body = json!({ "filter": { "generic_search_term": "pear" }, "limit": 1 });
    let found = bob.api.post(&target, body).await.unwrap().ok().unwrap();
    assert_eq!(ids(&found), [&*pears]);
    let first = bob.api.post(&target, json!({ "limit": 1 })).await.unwrap().ok().unwrap();
    let next = json!({ "limit": 1, "since": first["next_batch"] });
    let second = bob.api.post(&target, next).await.unwrap().ok().unwrap();
    assert_ne!(ids(&first), ids(&second));
    // Our own name is us.
    let own = path("?server={}", &[server.name()]);
    assert_eq!(ids(&get(&alice, &own).await).len(), 2);
}

#[tokio::test]
async fn what_is_no_request_is_refused() {
    let alice = support::user("alice").await;
    for query in ["?limit=-1", "?limit=x", "?since=nonsense", "?server=not%20a%20server"] {
        let answer = alice.api.get(&format!("{ROOMS}{query}")).await.unwrap();
        answer.expect_error(400, "M_INVALID_PARAM").unwrap();
    }
    for body in [
        json!({ "limit": -1 }),
        json!({ "limit": "10" }),
        json!({ "filter": { "room_types": "m.space" } }),
        json!({ "filter": { "generic_search_term": 1 } }),
    ] {
        alice.api.post(ROOMS, body).await.unwrap().expect_error(400, "M_BAD_JSON").unwrap();
    }
    let answer = alice.api.post(ROOMS, json!({ "since": "nonsense" })).await.unwrap();
    answer.expect_error(400, "M_INVALID_PARAM").unwrap();
    let unreachable = alice.api.get(&format!("{ROOMS}?server=localhost:1")).await.unwrap();
    assert_eq!(unreachable.status, 502, "{unreachable:?}");
    let anonymous = support::anonymous().await;
    anonymous.get(ROOMS).await.unwrap().ok().unwrap();
    let answer = anonymous.post(ROOMS, json!({})).await.unwrap();
    answer.expect_error(401, "M_MISSING_TOKEN").unwrap();
    let answer = anonymous.get(&format!("{ROOMS}?server=localhost:1")).await.unwrap();
    answer.expect_error(401, "M_MISSING_TOKEN").unwrap();
}
