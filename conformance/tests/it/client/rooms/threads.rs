//! GET /_matrix/client/v1/rooms/{roomId}/threads

use serde_json::{Value, json};
use starling_conformance::client::{Answer, User, path};

use crate::support;

async fn reply(user: &User, room: &str, root: &str) -> String {
    let relation = json!({ "rel_type": "m.thread", "event_id": root });
    let content = json!({ "msgtype": "m.text", "body": "x", "m.relates_to": relation });
    user.send(room, "m.room.message", content).await.unwrap()
}

async fn threads(user: &User, room: &str, query: &str) -> Answer {
    let target = path("/_matrix/client/v1/rooms/{}/threads", &[room]);
    user.api.get(&format!("{target}{query}")).await.unwrap()
}

fn ids(page: &Value) -> Vec<&str> {
    let chunk = page["chunk"].as_array().unwrap();
    chunk.iter().map(|event| event["event_id"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn threads_are_listed_with_the_newest_first() {
    let alice = support::user("alice").await;
    let bob = support::user("bob").await;
    let room = alice.create_public_room().await.unwrap();
    bob.join(&room, &[]).await.unwrap();
    let own = alice.say(&room, "one").await.unwrap();
    let joined = bob.say(&room, "two").await.unwrap();
    let other = bob.say(&room, "three").await.unwrap();
    alice.say(&room, "no thread").await.unwrap();
    for (user, root) in [(&bob, &other), (&bob, &own), (&alice, &joined)] {
        reply(user, &room, root).await;
    }
    let all = threads(&alice, &room, "").await.ok().unwrap();
    assert_eq!(ids(&all), [&joined, &own, &other]);
    assert_eq!(all.get("next_batch"), None);
    let part = threads(&alice, &room, "?include=participated").await.ok().unwrap();
    assert_eq!(ids(&part), [&joined, &own]);
    let first = threads(&alice, &room, "?include=all&limit=2").await.ok().unwrap();
    assert_eq!(ids(&first), [&joined, &own]);
    let next = path("?limit=2&from={}", &[first["next_batch"].as_str().unwrap()]);
    let second = threads(&alice, &room, &next).await.ok().unwrap();
    assert_eq!(ids(&second), [&other]);
    assert_eq!(second.get("next_batch"), None);
    reply(&bob, &room, &other).await;
    let all = threads(&alice, &room, "").await.ok().unwrap();
    assert_eq!(ids(&all), [&other, &joined, &own]);
}

#[tokio::test]
async fn a_thread_that_an_ignored_user_began_is_empty_at_its_beginning() {
    let alice = support::user("alice").await;
    let bob = support::user("bob").await;
    let room = alice.create_public_room().await.unwrap();
    bob.join(&room, &[]).await.unwrap();
    let root = bob.say(&room, "root").await.unwrap();
    let seen = reply(&alice, &room, &root).await;
    reply(&bob, &room, &root).await;
    let ignored = json!({ "ignored_users": { (&*bob.id): {} } });
    let list = path("/_matrix/client/v3/user/{}/account_data/m.ignored_user_list", &[&alice.id]);
    alice.api.put(&list, ignored).await.unwrap().ok().unwrap();
    let page = threads(&alice, &room, "").await.ok().unwrap();
    let event = &page["chunk"][0];
    assert_eq!((&event["event_id"], &event["content"]), (&json!(root), &json!({})));
    let thread = &event["unsigned"]["m.relations"]["m.thread"];
    assert_eq!((&thread["count"], &thread["latest_event"]["event_id"]), (&json!(1), &json!(seen)));
}

#[tokio::test]
async fn who_may_not_read_the_room_is_refused() {
    let alice = support::user("alice").await;
    let stranger = support::user("stranger").await;
    let room = alice.create_public_room().await.unwrap();
    let forbidden = |answer: Answer| answer.expect_error(403, "M_FORBIDDEN").unwrap();
    forbidden(threads(&stranger, &room, "").await);
    forbidden(threads(&alice, "!nowhere:example.org", "").await);
}

#[tokio::test]
async fn what_is_no_request_is_refused() {
    let alice = support::user("alice").await;
    let room = alice.create_public_room().await.unwrap();
    for query in ["?from=nonsense", "?limit=0", "?limit=-1", "?include=some"] {
        let answer = threads(&alice, &room, query).await;
        answer.expect_error(400, "M_INVALID_PARAM").unwrap();
    }
    let anonymous = support::anonymous().await;
    let target = path("/_matrix/client/v1/rooms/{}/threads", &[&room]);
    anonymous.get(&target).await.unwrap().expect_error(401, "M_MISSING_TOKEN").unwrap();
}
