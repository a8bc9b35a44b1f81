//! Bundled aggregations, wherever events are read:
//! <https://spec.matrix.org/v1.19/client-server-api/#aggregations-of-child-events>

use serde_json::{Value, json};
use starling_conformance::client::{User, path};

use crate::support;

async fn relate(user: &User, room: &str, rel_type: &str, to: &str) -> String {
    let relation = json!({ "rel_type": rel_type, "event_id": to });
    let content = json!({
        "msgtype": "m.text", "body": "x", "m.relates_to": relation,
        "m.new_content": { "msgtype": "m.text", "body": "new" },
    });
    user.send(room, "m.room.message", content).await.unwrap()
}

async fn bundle(user: &User, room: &str, event: &str) -> Value {
    let event = user.event(room, event).await.unwrap().ok().unwrap();
    event["unsigned"]["m.relations"].clone()
}

async fn get(user: &User, target: &str) -> Value {
    user.api.get(target).await.unwrap().ok().unwrap()
}

fn find<'a>(events: &'a Value, id: &str) -> &'a Value {
    let events = events.as_array().unwrap();
    events.iter().find(|event| event["event_id"] == id).unwrap()
}

#[tokio::test]
async fn every_way_to_read_an_event_bundles() {
    let alice = support::user("alice").await;
    let room = alice.create_public_room().await.unwrap();
    let parent = alice.say(&room, "parent").await.unwrap();
    let edit = relate(&alice, &room, "m.replace", &parent).await;
    let reference = relate(&alice, &room, "m.reference", &parent).await;
    let reply = relate(&alice, &room, "m.thread", &parent).await;
    let messages = path("/_matrix/client/v3/rooms/{}/messages?dir=b&limit=50", &[&room]);
    let context = path("/_matrix/client/v3/rooms/{}/context/{}", &[&room, &reply]);
    let threads = path("/_matrix/client/v1/rooms/{}/threads", &[&room]);
    let filter = r#"{"room":{"timeline":{"limit":4}}}"#;
    let sync = get(&alice, &path("/_matrix/client/v3/sync?filter={}", &[filter])).await;
    let timeline = &sync["rooms"]["join"][&room]["timeline"];
    assert_eq!(timeline["limited"], true);
    let read = [
        alice.event(&room, &parent).await.unwrap().ok().unwrap(),
        find(&get(&alice, &messages).await["chunk"], &parent).clone(),
        find(&get(&alice, &context).await["events_before"], &parent).clone(),
        find(&get(&alice, &threads).await["chunk"], &parent).clone(),
        find(&timeline["events"], &parent).clone(),
    ];
    for event in read {
        assert_eq!(event["content"]["body"], "parent", "the content is not replaced");
        let bundle = &event["unsigned"]["m.relations"];
        assert_eq!(bundle["m.replace"]["event_id"], edit, "{event}");
        assert_eq!(bundle["m.replace"]["content"]["m.new_content"]["body"], "new");
        assert_eq!(bundle["m.reference"], json!({ "chunk": [{ "event_id": reference }] }));
        let thread = &bundle["m.thread"];
        assert_eq!(thread["latest_event"]["event_id"], reply);
        assert_eq!(thread["count"], 1);
        assert_eq!(thread["current_user_participated"], true);
    }
}

#[tokio::test]
async fn relations_are_bundled_with_relations() {
    let alice = support::user("alice").await;
    let room = alice.create_public_room().await.unwrap();
    let parent = alice.say(&room, "parent").await.unwrap();
    let reply = relate(&alice, &room, "m.thread", &parent).await;
    let edit = relate(&alice, &room, "m.replace", &reply).await;
    let relations = path("/_matrix/client/v1/rooms/{}/relations/{}", &[&room, &parent]);
    let page = get(&alice, &relations).await;
    let event = find(&page["chunk"], &reply);
    assert_eq!(event["unsigned"]["m.relations"]["m.replace"]["event_id"], edit);
}

#[tokio::test]
async fn redactions_undo_replacements() {
    let alice = support::user("alice").await;
    let room = alice.create_public_room().await.unwrap();
    let parent = alice.say(&room, "parent").await.unwrap();
    let first = relate(&alice, &room, "m.replace", &parent).await;
    let second = relate(&alice, &room, "m.replace", &parent).await;
    alice.redact(&room, &second).await.unwrap();
    assert_eq!(bundle(&alice, &room, &parent).await["m.replace"]["event_id"], first);
    let reply = relate(&alice, &room, "m.thread", &parent).await;
    alice.redact(&room, &parent).await.unwrap();
    let bundle = bundle(&alice, &room, &parent).await;
    assert_eq!(bundle.get("m.replace"), None);
    assert_eq!(bundle["m.thread"]["latest_event"]["event_id"], reply);
}

#[tokio::test]
async fn nobody_edits_the_events_of_others() {
    let alice = support::user("alice").await;
    let bob = support::user("bob").await;
    let room = alice.create_public_room().await.unwrap();
    bob.join(&room, &[]).await.unwrap();
    let parent = alice.say(&room, "parent").await.unwrap();
    relate(&bob, &room, "m.replace", &parent).await;
    assert_eq!(bundle(&alice, &room, &parent).await, Value::Null);
}

#[tokio::test]
async fn state_and_annotations_are_not_bundled() {
    let alice = support::user("alice").await;
    let room = alice.create_public_room().await.unwrap();
    let name = alice.set_state(&room, "m.room.name", "", json!({ "name": "x" })).await.unwrap();
    relate(&alice, &room, "m.reference", &name).await;
    assert_eq!(bundle(&alice, &room, &name).await, Value::Null);
    let parent = alice.say(&room, "parent").await.unwrap();
    relate(&alice, &room, "m.annotation", &parent).await;
    assert_eq!(bundle(&alice, &room, &parent).await, Value::Null);
}
