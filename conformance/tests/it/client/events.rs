//! GET /_matrix/client/v3/events
//! GET /_matrix/client/v3/events/{eventId}

use serde_json::{Value, json};
use starling_conformance::client::{Answer, User, path, text};

use crate::support;

async fn events(user: &User, query: &str) -> Answer {
    user.api.get(&format!("/_matrix/client/v3/events?{query}")).await.unwrap()
}

async fn open_room(alice: &User) -> String {
    let visibility = json!({ "history_visibility": "world_readable" });
    let state = json!([{ "type": "m.room.history_visibility", "content": visibility }]);
    let body = json!({ "preset": "public_chat", "initial_state": state });
    alice.create_room(body).await.unwrap()
}

fn ids(chunk: &Value) -> Vec<&str> {
    chunk["chunk"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|event| event["event_id"].as_str())
        .collect()
}

#[tokio::test]
async fn what_happens_in_ones_rooms_comes_in_order() {
    let alice = support::user("alice").await;
    let bob = support::user("bob").await;
    let room = alice.create_public_room().await.unwrap();
    bob.join(&room, &[]).await.unwrap();
    let begin = alice.api.get("/_matrix/client/v3/initialSync").await.unwrap().ok().unwrap();
    let from = text(&begin, "/end").unwrap();
    let first = bob.say(&room, "one").await.unwrap();
    let second = bob.say(&room, "two").await.unwrap();
    let chunk = events(&alice, &path("from={}&timeout=20000", &[from])).await.ok().unwrap();
    assert_eq!(chunk["start"], from);
    // The first may come alone.
    let mut seen: Vec<String> = ids(&chunk).into_iter().map(str::to_owned).collect();
    let mut end = text(&chunk, "/end").unwrap().to_owned();
    while !seen.contains(&second) {
        let more = events(&alice, &path("from={}&timeout=20000", &[&end])).await.ok().unwrap();
        seen.extend(ids(&more).into_iter().map(str::to_owned));
        end = text(&more, "/end").unwrap().to_owned();
    }
    assert_eq!(seen, [first, second]);
    assert_eq!(chunk["chunk"].as_array().unwrap().last().unwrap()["room_id"], room.as_str());
    let waiting = path("from={}&timeout=60000", &[&end]);
    let (third, news) = tokio::join!(bob.say(&room, "three"), events(&alice, &waiting));
    assert_eq!(ids(&news.ok().unwrap()), [third.unwrap()]);
    let nothing = events(&alice, "timeout=0").await.ok().unwrap();
    assert_eq!(ids(&nothing), [""; 0]);
}

#[tokio::test]
async fn an_open_room_is_followed_from_outside() {
    let alice = support::user("alice").await;
    let bob = support::user("bob").await;
    let room = open_room(&alice).await;
    let now = events(&bob, &path("room_id={}&timeout=0", &[&room])).await.ok().unwrap();
    assert_eq!(ids(&now), [""; 0]);
    let end = text(&now, "/end").unwrap();
    let waiting = path("room_id={}&from={}&timeout=60000", &[&room, end]);
    let (said, news) = tokio::join!(alice.say(&room, "hello"), events(&bob, &waiting));
    let (said, news) = (said.unwrap(), news.ok().unwrap());
    assert_eq!(ids(&news), [said.as_str()]);
    assert_eq!(news["chunk"][0]["room_id"], room.as_str());
    assert_eq!(news["start"], end);
    // A place of /messages is no token here.
    let page = path("/_matrix/client/v3/rooms/{}/messages?dir=b&limit=1", &[&room]);
    let page = alice.api.get(&page).await.unwrap().ok().unwrap();
    let query = path("room_id={}&from={}", &[&room, text(&page, "/end").unwrap()]);
    events(&bob, &query).await.expect_error(400, "M_INVALID_PARAM").unwrap();
}

#[tokio::test]
async fn who_may_not_read_is_refused() {
    let alice = support::user("alice").await;
    let bob = support::user("bob").await;
    let room = alice.create_public_room().await.unwrap();
    for room in [room.as_str(), "!nowhere:example.org"] {
        let answer = events(&bob, &path("room_id={}&timeout=0", &[room])).await;
        answer.expect_error(403, "M_FORBIDDEN").unwrap();
    }
    for query in ["from=x", "timeout=-1", "room_id=x", "from=p5"] {
        let answer = events(&alice, query).await;
        answer.expect_error(400, "M_INVALID_PARAM").unwrap();
    }
    let answer = support::anonymous().await.get("/_matrix/client/v3/events").await.unwrap();
    answer.expect_error(401, "M_MISSING_TOKEN").unwrap();
}

#[tokio::test]
async fn one_event_is_found_without_its_room() {
    let alice = support::user("alice").await;
    let bob = support::user("bob").await;
    let room = alice.create_public_room().await.unwrap();
    let said = alice.say(&room, "hello").await.unwrap();
    let target = path("/_matrix/client/v3/events/{}", &[&said]);
    let event = alice.api.get(&target).await.unwrap().ok().unwrap();
    assert_eq!((&event["event_id"], &event["room_id"]), (&json!(said), &json!(room)));
    bob.api.get(&target).await.unwrap().expect_error(404, "M_NOT_FOUND").unwrap();
    let nothing = alice.api.get("/_matrix/client/v3/events/%24nothing").await.unwrap();
    nothing.expect_error(404, "M_NOT_FOUND").unwrap();
    let anybody = support::anonymous().await;
    anybody.get(&target).await.unwrap().expect_error(401, "M_MISSING_TOKEN").unwrap();
}
