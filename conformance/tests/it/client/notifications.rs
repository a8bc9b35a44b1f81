//! GET /_matrix/client/v3/notifications

use serde_json::{Value, json};
use starling_conformance::client::{Sync, User, path};

use crate::support;

const PATH: &str = "/_matrix/client/v3/notifications";

async fn list(user: &User, query: &str) -> (Vec<Value>, Option<String>) {
    let page = user.api.get(&format!("{PATH}{query}")).await.unwrap().ok().unwrap();
    let next = page["next_token"].as_str().map(ToOwned::to_owned);
    (page["notifications"].as_array().unwrap().clone(), next)
}

#[tokio::test]
async fn they_come_in_pages_newest_first() {
    let (alice, bob) = (support::user("alice").await, support::user("bob").await);
    let room = alice.create_public_room().await.unwrap();
    alice.say(&room, "before bob was here").await.unwrap();
    bob.join(&room, &[]).await.unwrap();
    let mut said = Vec::new();
    for number in 0..3 {
        said.push(alice.say(&room, &number.to_string()).await.unwrap());
    }
    bob.say(&room, "an answer").await.unwrap();
    let gone = alice.say(&room, "redacted").await.unwrap();
    alice.redact(&room, &gone).await.unwrap();
    let (mut found, mut query) = (vec![], "?limit=2".to_owned());
    loop {
        let (page, next) = list(&bob, &query).await;
        assert!(page.len() <= 2);
        found.extend(page);
        let Some(next) = next else { break };
        query = path("?limit=2&from={}", &[&next]);
    }
    said.reverse();
    let ids: Vec<&str> = found.iter().filter_map(|it| it["event"]["event_id"].as_str()).collect();
    assert_eq!(ids, said);
    assert!(found.iter().all(|it| it["read"] == true), "who answers has read");
    assert!(found.iter().all(|it| it["room_id"] == room && it["ts"].is_i64()));
    assert!(found.iter().all(|it| it["actions"].as_array().unwrap().contains(&json!("notify"))));
}

#[tokio::test]
async fn only_highlights() {
    let (alice, bob) = (support::user("alice").await, support::user("bob").await);
    let room = alice.create_public_room().await.unwrap();
    bob.join(&room, &[]).await.unwrap();
    alice.say(&room, "nothing special").await.unwrap();
    let content =
        json!({ "msgtype": "m.text", "body": "bob", "m.mentions": { "user_ids": [bob.id] } });
    let mention = alice.send(&room, "m.room.message", content).await.unwrap();
    let (found, _) = list(&bob, "?only=highlight").await;
    assert_eq!(found.len(), 1);
    assert_eq!(found[0]["event"]["event_id"], *mention);
    assert_eq!(found[0]["read"], false);
    let highlight = json!({ "set_tweak": "highlight" });
    assert!(found[0]["actions"].as_array().unwrap().contains(&highlight), "{found:?}");
}

#[tokio::test]
async fn receipts_clear_their_thread_only() {
    let (alice, bob) = (support::user("alice").await, support::user("bob").await);
    let room = alice.create_public_room().await.unwrap();
    bob.join(&room, &[]).await.unwrap();
    let root = alice.say(&room, "root").await.unwrap();
    let content = json!({
        "msgtype": "m.text", "body": "in the thread",
        "m.relates_to": { "rel_type": "m.thread", "event_id": root },
    });
    let threaded = alice.send(&room, "m.room.message", content).await.unwrap();
    let counts = async || {
        let filter = json!({ "room": { "timeline": { "unread_thread_notifications": true } } });
        let path = path("/_matrix/client/v3/sync?filter={}", &[&filter.to_string()]);
        let sync = bob.api.get(&path).await.unwrap().ok().unwrap();
        let room = &sync["rooms"]["join"][&room];
        let thread = &room["unread_thread_notifications"][&root]["notification_count"];
        let main = room["unread_notifications"]["notification_count"].as_i64().unwrap();
        (main, thread.as_i64().unwrap_or(0))
    };
    let receipt = async |kind: &str, event: &str, thread: Option<&str>| {
        let path = path("/_matrix/client/v3/rooms/{}/receipt/{}/{}", &[&room, kind, event]);
        let body = thread.map_or(json!({}), |thread| json!({ "thread_id": thread }));
        bob.api.post(&path, body).await.unwrap().ok().unwrap();
    };
    assert_eq!(counts().await, (1, 1));
    receipt("m.read.private", &threaded, Some(&root)).await;
    assert_eq!(counts().await, (1, 0));
    receipt("m.read", &root, Some("main")).await;
    assert_eq!(counts().await, (0, 0));
    alice.say(&room, "more").await.unwrap();
    let last = alice.say(&room, "and more").await.unwrap();
    assert_eq!(counts().await, (2, 0));
    receipt("m.read", &last, None).await;
    assert_eq!(counts().await, (0, 0));
    let mut sync = Sync::start(&bob).await.unwrap();
    let gone = alice.say(&room, "a mistake").await.unwrap();
    sync.event_with_id(&room, &gone).await.unwrap();
    assert_eq!(counts().await, (1, 0));
    alice.redact(&room, &gone).await.unwrap();
    assert_eq!(counts().await, (0, 0), "what was redacted is not unread");
}

#[tokio::test]
async fn refusals() {
    let bob = support::user("bob").await;
    let answer = bob.api.get(&format!("{PATH}?from=nonsense")).await.unwrap();
    answer.expect_error(400, "M_INVALID_PARAM").unwrap();
    let answer = support::anonymous().await.get(PATH).await.unwrap();
    answer.expect_error(401, "M_MISSING_TOKEN").unwrap();
}
