//! GET /_matrix/client/v1/rooms/{roomId}/relations/{eventId}
//! GET /_matrix/client/v1/rooms/{roomId}/relations/{eventId}/{relType}
//! GET /_matrix/client/v1/rooms/{roomId}/relations/{eventId}/{relType}/{eventType}

use serde_json::{Value, json};
use starling_conformance::client::{Answer, Sync, User, path};

use crate::{scene::Scene, support};

/// Sends a message or a reaction that relates to an event.
async fn relate(user: &User, room: &str, kind: &str, rel_type: &str, to: &str) -> String {
    let relation = json!({ "rel_type": rel_type, "event_id": to, "key": "👍" });
    let content = json!({ "msgtype": "m.text", "body": "x", "m.relates_to": relation });
    user.send(room, kind, content).await.unwrap()
}

async fn read(user: &User, room: &str, event: &str, rest: &str) -> Answer {
    let relations = path("/_matrix/client/v1/rooms/{}/relations/{}", &[room, event]);
    user.api.get(&format!("{relations}{rest}")).await.unwrap()
}

fn ids(page: &Value) -> Vec<&str> {
    let chunk = page["chunk"].as_array().unwrap();
    chunk.iter().map(|event| event["event_id"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn relations_are_found_by_kind_and_type() {
    let alice = support::user("alice").await;
    let room = alice.create_public_room().await.unwrap();
    let parent = alice.say(&room, "parent").await.unwrap();
    let reply = relate(&alice, &room, "m.room.message", "m.thread", &parent).await;
    let sticker = relate(&alice, &room, "m.sticker", "m.thread", &parent).await;
    let reaction = relate(&alice, &room, "m.reaction", "m.annotation", &parent).await;
    for (rest, wanted) in [
        ("", vec![&*reaction, &sticker, &reply]),
        ("?dir=f", vec![&*reply, &sticker, &reaction]),
        ("/m.thread", vec![&*sticker, &reply]),
        ("/m.thread/m.sticker", vec![&*sticker]),
        ("/m.annotation/m.sticker", vec![]),
    ] {
        let page = read(&alice, &room, &parent, rest).await.ok().unwrap();
        assert_eq!(ids(&page), wanted, "{rest}");
        assert_eq!(page.get("next_batch"), None, "{rest}");
        assert_eq!(page.get("prev_batch"), None, "{rest}");
        assert_eq!(page.get("recursion_depth"), None, "{rest}");
    }
    let page = read(&alice, &room, &parent, "/m.thread/m.sticker").await.ok().unwrap();
    let event = &page["chunk"][0];
    assert_eq!(event["room_id"], room.as_str());
    assert_eq!(event["content"]["m.relates_to"]["event_id"], parent.as_str());
}

#[tokio::test]
async fn pages_are_continued_and_end_where_they_are_told() {
    let alice = support::user("alice").await;
    let room = alice.create_public_room().await.unwrap();
    let parent = alice.say(&room, "parent").await.unwrap();
    let mut children = Vec::new();
    for _ in 0..3 {
        children.push(relate(&alice, &room, "m.room.message", "m.thread", &parent).await);
    }
    let first = read(&alice, &room, &parent, "?limit=2").await.ok().unwrap();
    assert_eq!(ids(&first), [&children[2], &children[1]]);
    let next = first["next_batch"].as_str().unwrap();
    let second = read(&alice, &room, &parent, &path("?limit=2&from={}", &[next])).await;
    let second = second.ok().unwrap();
    assert_eq!(ids(&second), [&children[0]]);
    assert_eq!(second["prev_batch"], next);
    assert_eq!(second.get("next_batch"), None);
    let until = read(&alice, &room, &parent, &path("?to={}", &[next])).await.ok().unwrap();
    assert_eq!(ids(&until), ids(&first));
}

#[tokio::test]
async fn a_token_of_sync_begins_a_page() {
    let alice = support::user("alice").await;
    let room = alice.create_public_room().await.unwrap();
    let parent = alice.say(&room, "parent").await.unwrap();
    let before = relate(&alice, &room, "m.room.message", "m.thread", &parent).await;
    let sync = alice.api.get("/_matrix/client/v3/sync").await.unwrap().ok().unwrap();
    let token = sync["next_batch"].as_str().unwrap();
    let after = relate(&alice, &room, "m.room.message", "m.thread", &parent).await;
    for (direction, wanted) in [("b", before), ("f", after)] {
        let rest = path("?dir={}&from={}", &[direction, token]);
        let page = read(&alice, &room, &parent, &rest).await.ok().unwrap();
        assert_eq!(ids(&page), [&wanted], "{direction}");
    }
}

#[tokio::test]
async fn indirect_relations_are_found_on_request() {
    let alice = support::user("alice").await;
    let room = alice.create_public_room().await.unwrap();
    let parent = alice.say(&room, "parent").await.unwrap();
    let reply = relate(&alice, &room, "m.room.message", "m.thread", &parent).await;
    let edit = relate(&alice, &room, "m.room.message", "m.replace", &reply).await;
    let page = read(&alice, &room, &parent, "?recurse=true").await.ok().unwrap();
    assert_eq!(ids(&page), [&edit, &reply]);
    assert!(page["recursion_depth"].as_i64().unwrap() >= 3);
    let page = read(&alice, &room, &parent, "/m.thread?recurse=true").await.ok().unwrap();
    assert_eq!(ids(&page), [&reply]);
    let page = read(&alice, &room, &parent, "/m.replace?recurse=true").await.ok().unwrap();
    assert!(ids(&page).is_empty());
    let page = read(&alice, &room, &parent, "?recurse=false").await.ok().unwrap();
    assert_eq!(ids(&page), [&reply]);
    assert!(page["recursion_depth"].is_i64());
}

#[tokio::test]
async fn a_redacted_child_is_related_no_more() {
    let alice = support::user("alice").await;
    let room = alice.create_public_room().await.unwrap();
    let parent = alice.say(&room, "parent").await.unwrap();
    let child = relate(&alice, &room, "m.room.message", "m.thread", &parent).await;
    let kept = relate(&alice, &room, "m.room.message", "m.thread", &parent).await;
    alice.redact(&room, &child).await.unwrap();
    alice.redact(&room, &parent).await.unwrap();
    let page = read(&alice, &room, &parent, "").await.ok().unwrap();
    assert_eq!(ids(&page), [&kept]);
}

#[tokio::test]
async fn children_of_ignored_users_are_left_out() {
    let alice = support::user("alice").await;
    let bob = support::user("bob").await;
    let room = alice.create_public_room().await.unwrap();
    bob.join(&room, &[]).await.unwrap();
    let parent = alice.say(&room, "parent").await.unwrap();
    relate(&bob, &room, "m.room.message", "m.thread", &parent).await;
    let ignored = json!({ "ignored_users": { (&*bob.id): {} } });
    let list = path("/_matrix/client/v3/user/{}/account_data/m.ignored_user_list", &[&alice.id]);
    alice.api.put(&list, ignored).await.unwrap().ok().unwrap();
    assert!(ids(&read(&alice, &room, &parent, "").await.ok().unwrap()).is_empty());
    assert_eq!(ids(&read(&bob, &room, &parent, "").await.ok().unwrap()).len(), 1);
}

#[tokio::test]
async fn relations_from_other_servers_are_found() {
    let mut scene = Scene::set("11").await;
    let room = scene.room.id.clone();
    let parent = scene.alice.say(&room, "parent").await.unwrap();
    let mut draft = scene.room.message(&scene.mallory, "from afar").unwrap();
    draft["content"]["m.relates_to"] = json!({ "rel_type": "m.thread", "event_id": parent });
    let child = scene.put_out(&draft).await;
    let page = read(&scene.alice, &room, &parent, "/m.thread").await.ok().unwrap();
    assert_eq!(ids(&page), [&child.id]);
}

#[tokio::test]
async fn who_may_not_see_the_event_is_told_that_there_is_none() {
    let alice = support::user("alice").await;
    let stranger = support::user("stranger").await;
    let room = alice.create_room(json!({ "preset": "private_chat" })).await.unwrap();
    let parent = alice.say(&room, "parent").await.unwrap();
    relate(&alice, &room, "m.room.message", "m.thread", &parent).await;
    let missing = |answer: Answer| answer.expect_error(404, "M_NOT_FOUND").unwrap();
    for rest in ["", "/m.thread", "/m.thread/m.room.message"] {
        missing(read(&stranger, &room, &parent, rest).await);
        missing(read(&alice, &room, "$nowhere", rest).await);
        missing(read(&alice, "!nowhere:example.org", &parent, rest).await);
    }
}

#[tokio::test]
async fn the_history_before_a_join_stays_hidden() {
    let alice = support::user("alice").await;
    let bob = support::user("bob").await;
    let visibility = json!({
        "type": "m.room.history_visibility", "state_key": "",
        "content": { "history_visibility": "joined" },
    });
    let options = json!({ "preset": "public_chat", "initial_state": [visibility] });
    let room = alice.create_room(options).await.unwrap();
    let parent = alice.say(&room, "parent").await.unwrap();
    bob.join(&room, &[]).await.unwrap();
    let mut sync = Sync::start(&bob).await.unwrap();
    let child = relate(&alice, &room, "m.room.message", "m.thread", &parent).await;
    sync.event_with_id(&room, &child).await.unwrap();
    read(&bob, &room, &parent, "").await.expect_error(404, "M_NOT_FOUND").unwrap();
}

#[tokio::test]
async fn what_is_no_request_is_refused() {
    let alice = support::user("alice").await;
    let room = alice.create_public_room().await.unwrap();
    let parent = alice.say(&room, "parent").await.unwrap();
    for rest in ["?from=nonsense", "?to=nonsense", "?dir=x", "?limit=-1", "?recurse=maybe"] {
        let answer = read(&alice, &room, &parent, rest).await;
        answer.expect_error(400, "M_INVALID_PARAM").unwrap();
    }
    let anonymous = support::anonymous().await;
    let target = path("/_matrix/client/v1/rooms/{}/relations/{}", &[&room, &parent]);
    anonymous.get(&target).await.unwrap().expect_error(401, "M_MISSING_TOKEN").unwrap();
}
