//! GET /_matrix/client/v3/initialSync

use serde_json::{Value, json};
use starling_conformance::client::{User, path};

use crate::support;

async fn rooms(user: &User, query: &str) -> Value {
    let target = format!("/_matrix/client/v3/initialSync?{query}");
    user.api.get(&target).await.unwrap().ok().unwrap()
}

fn room<'a>(answer: &'a Value, id: &str) -> Option<&'a Value> {
    answer["rooms"].as_array().unwrap().iter().find(|room| room["room_id"] == id)
}

#[tokio::test]
async fn everything_there_is_for_a_user() {
    let alice = support::user("alice").await;
    let bob = support::user("bob").await;
    let joined = bob.create_public_room().await.unwrap();
    let left = bob.create_public_room().await.unwrap();
    let invited = bob.create_room(json!({ "preset": "private_chat" })).await.unwrap();
    for room in [&joined, &left] {
        alice.join(room, &[]).await.unwrap();
    }
    let said = bob.say(&joined, "hello").await.unwrap();
    alice.leave(&left).await.unwrap();
    bob.invite(&invited, &alice.id).await.unwrap();
    let data = path("/_matrix/client/v3/user/{}/account_data/org.example", &[&alice.id]);
    alice.api.put(&data, json!({ "a": 1 })).await.unwrap().ok().unwrap();

    let answer = rooms(&alice, "limit=1").await;
    assert!(answer["end"].is_string() && answer["presence"].is_array(), "{answer}");
    let noted = json!({ "type": "org.example", "content": { "a": 1 } });
    assert!(answer["account_data"].as_array().unwrap().contains(&noted), "{answer}");
    let there = room(&answer, &joined).unwrap();
    assert_eq!((&there["membership"], &there["visibility"]), (&json!("join"), &json!("private")));
    let chunk = there["messages"]["chunk"].as_array().unwrap();
    assert_eq!((chunk.len(), &chunk[0]["event_id"]), (1, &json!(said)));
    assert!(there["messages"]["start"].is_string() && there["messages"]["end"].is_string());
    assert!(there["state"].as_array().unwrap().len() > 5);
    let invite = room(&answer, &invited).unwrap();
    assert_eq!(invite["membership"], "invite");
    assert_eq!(invite["invite"]["state_key"], alice.id.as_str());
    assert!(room(&answer, &left).is_none());
    let archived = rooms(&alice, "archived=true").await;
    assert_eq!(room(&archived, &left).unwrap()["membership"], "leave");
}

#[tokio::test]
async fn what_is_no_request_is_refused() {
    let alice = support::user("alice").await;
    for query in ["limit=-1", "archived=perhaps"] {
        let target = format!("/_matrix/client/v3/initialSync?{query}");
        let answer = alice.api.get(&target).await.unwrap();
        answer.expect_error(400, "M_INVALID_PARAM").unwrap();
    }
    let answer = support::anonymous().await.get("/_matrix/client/v3/initialSync").await.unwrap();
    answer.expect_error(401, "M_MISSING_TOKEN").unwrap();
}

#[tokio::test]
async fn invites_that_are_not_wanted_are_not_shown() {
    let (alice, bob) = (support::user("alice").await, support::user("bob").await);
    let room_id = bob.create_public_room().await.unwrap();
    bob.invite(&room_id, &alice.id).await.unwrap();
    for (kind, hides, shows) in [
        ("m.ignored_user_list", json!({ "ignored_users": { (&*bob.id): {} } }), json!({})),
        (
            "m.invite_permission_config",
            json!({ "default_action": "block" }),
            json!({ "default_action": "allow" }),
        ),
    ] {
        assert!(room(&rooms(&alice, "").await, &room_id).is_some(), "{kind}");
        let data = path("/_matrix/client/v3/user/{}/account_data/{}", &[&alice.id, kind]);
        alice.api.put(&data, hides).await.unwrap().ok().unwrap();
        assert!(room(&rooms(&alice, "").await, &room_id).is_none(), "{kind}");
        alice.api.put(&data, shows).await.unwrap().ok().unwrap();
    }
}
