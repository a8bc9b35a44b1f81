//! GET /_matrix/client/unstable/io.element.msc4306/rooms/{roomId}/thread/{eventId}/subscription
//! PUT /_matrix/client/unstable/io.element.msc4306/rooms/{roomId}/thread/{eventId}/subscription
//! DELETE /_matrix/client/unstable/io.element.msc4306/rooms/{roomId}/thread/{eventId}/subscription
//! GET /_matrix/client/unstable/io.element.msc4308/thread_subscriptions

use serde_json::{Value, json};
use starling_conformance::client::{Answer, User, path};

use crate::support;

const LIST: &str = "/_matrix/client/unstable/io.element.msc4308/thread_subscriptions";

fn subscription(room: &str, root: &str) -> String {
    let template = "/_matrix/client/unstable/io.element.msc4306/rooms/{}/thread/{}/subscription";
    path(template, &[room, root])
}

async fn reply(user: &User, room: &str, root: &str) -> String {
    let relation = json!({ "rel_type": "m.thread", "event_id": root });
    let content = json!({ "msgtype": "m.text", "body": "x", "m.relates_to": relation });
    user.send(room, "m.room.message", content).await.unwrap()
}

async fn put(user: &User, room: &str, root: &str, body: Value) -> Answer {
    user.api.put(&subscription(room, root), body).await.unwrap()
}

async fn get(user: &User, room: &str, root: &str) -> Answer {
    user.api.get(&subscription(room, root)).await.unwrap()
}

#[tokio::test]
async fn a_thread_is_followed_and_left() {
    let alice = support::user("alice").await;
    let room = alice.create_public_room().await.unwrap();
    let root = alice.say(&room, "root").await.unwrap();
    let first = reply(&alice, &room, &root).await;
    get(&alice, &room, &root).await.expect_error(404, "M_NOT_FOUND").unwrap();
    put(&alice, &room, &root, json!({ "automatic": first })).await.ok().unwrap();
    let found = get(&alice, &room, &root).await.ok().unwrap();
    assert_eq!(found, json!({ "automatic": true }));
    put(&alice, &room, &root, json!({})).await.ok().unwrap();
    put(&alice, &room, &root, json!({ "automatic": first })).await.ok().unwrap();
    let found = get(&alice, &room, &root).await.ok().unwrap();
    assert_eq!(found, json!({ "automatic": false }), "the user's will goes first");
    let path = subscription(&room, &root);
    for _ in 0..2 {
        alice.api.delete(&path).await.unwrap().ok().unwrap();
        get(&alice, &room, &root).await.expect_error(404, "M_NOT_FOUND").unwrap();
    }
    let answer = put(&alice, &room, &root, json!({ "automatic": first })).await;
    let conflict = "IO.ELEMENT.MSC4306.M_CONFLICTING_UNSUBSCRIPTION";
    answer.expect_error(409, conflict).unwrap();
    let later = reply(&alice, &room, &root).await;
    put(&alice, &room, &root, json!({ "automatic": later })).await.ok().unwrap();
}

#[tokio::test]
async fn changes_are_listed_page_by_page() {
    let alice = support::user("alice").await;
    let room = alice.create_public_room().await.unwrap();
    let mut roots = Vec::new();
    for body in ["one", "two", "three"] {
        let root = alice.say(&room, body).await.unwrap();
        put(&alice, &room, &root, json!({})).await.ok().unwrap();
        roots.push(root);
    }
    alice.api.delete(&subscription(&room, &roots[0])).await.unwrap().ok().unwrap();
    let page = async |rest: &str| {
        alice.api.get(&format!("{LIST}?dir=b{rest}")).await.unwrap().ok().unwrap()
    };
    let first = page("&limit=2").await;
    let stamp = first["unsubscribed"][&room][&roots[0]]["bump_stamp"].as_i64().unwrap();
    let third = &first["subscribed"][&room][&roots[2]];
    assert_eq!(third["automatic"], false);
    assert!(third["bump_stamp"].as_i64().unwrap() < stamp);
    let end = first["end"].as_str().unwrap();
    let second = page(&format!("&limit=2&from={end}")).await;
    assert!(second["subscribed"][&room][&roots[1]].is_object(), "{second}");
    assert_eq!((second.get("unsubscribed"), second.get("end")), (None, None));
    let newest = page(&format!("&to={}", stamp - 1)).await;
    assert_eq!(newest.get("subscribed"), None, "{newest}");
    let bob = support::user("bob").await;
    assert_eq!(bob.api.get(LIST).await.unwrap().ok().unwrap(), json!({}));
}

async fn unread(user: &User, room: &str) -> Value {
    let answer = user.api.get("/_matrix/client/v3/sync").await.unwrap().ok().unwrap();
    answer["rooms"]["join"][room]["unread_notifications"]["notification_count"].clone()
}

async fn announced(user: &User) -> Value {
    let answer = user.api.get("/_matrix/client/versions").await.unwrap().ok().unwrap();
    answer["unstable_features"]["org.matrix.msc4306"].clone()
}

const RULE: &str = "/_matrix/client/v3/pushrules/global/{}/{}";
const UNFOLLOWED: &str = ".io.element.msc4306.rule.unsubscribed_thread";

#[tokio::test]
async fn where_it_is_wanted_a_thread_notifies_those_who_follow_it() {
    let server = support::server_with(&[("PUSH__FOLLOW_THREADS", "true")]).await;
    let alice = User::register(&server, "alice").await.unwrap();
    let bob = User::register(&server, "bob").await.unwrap();
    assert_eq!(announced(&bob).await, true);
    let room = alice.create_public_room().await.unwrap();
    bob.join(&room, &[]).await.unwrap();
    let root = alice.say(&room, "root").await.unwrap();
    reply(&alice, &room, &root).await;
    assert_eq!(unread(&bob, &room).await, 1, "of the thread bob hears nothing");
    put(&bob, &room, &root, json!({})).await.ok().unwrap();
    reply(&alice, &room, &root).await;
    assert_eq!(unread(&bob, &room).await, 2);
    bob.api.delete(&subscription(&room, &root)).await.unwrap().ok().unwrap();
    reply(&alice, &room, &root).await;
    assert_eq!(unread(&bob, &room).await, 2);
    let rule = path(RULE, &["postcontent", UNFOLLOWED]);
    let found = bob.api.get(&rule).await.unwrap().ok().unwrap();
    let condition =
        json!({ "kind": "io.element.msc4306.thread_subscription", "subscribed": false });
    assert_eq!((&found["actions"], &found["conditions"]), (&json!([]), &json!([condition])));
    let enabled = format!("{rule}/enabled");
    bob.api.put(&enabled, json!({ "enabled": false })).await.unwrap().ok().unwrap();
    reply(&alice, &room, &root).await;
    assert_eq!(unread(&bob, &room).await, 3, "bob wants to hear of all threads");
}

#[tokio::test]
async fn elsewhere_a_thread_notifies_like_any_message() {
    let (alice, bob) = (support::user("alice").await, support::user("bob").await);
    assert_eq!(announced(&bob).await, false);
    let room = alice.create_public_room().await.unwrap();
    bob.join(&room, &[]).await.unwrap();
    let root = alice.say(&room, "root").await.unwrap();
    reply(&alice, &room, &root).await;
    assert_eq!(unread(&bob, &room).await, 2);
    let rule = path(RULE, &["postcontent", UNFOLLOWED]);
    bob.api.get(&rule).await.unwrap().expect_error(404, "M_NOT_FOUND").unwrap();
    let mine = path(RULE, &["postcontent", "mine"]);
    let answer = bob.api.put(&mine, json!({ "actions": [] })).await.unwrap();
    answer.expect_error(400, "M_INVALID_PARAM").unwrap();
}

#[tokio::test]
async fn refusals() {
    let (alice, bob) = (support::user("alice").await, support::user("bob").await);
    let room = alice.create_room(json!({})).await.unwrap();
    let root = alice.say(&room, "root").await.unwrap();
    let other = alice.say(&room, "other").await.unwrap();
    let elsewhere = reply(&alice, &room, &other).await;
    for cause in [&root, &other, &elsewhere, "$nowhere"] {
        let answer = put(&alice, &room, &root, json!({ "automatic": cause })).await;
        answer.expect_error(400, "IO.ELEMENT.MSC4306.M_NOT_IN_THREAD").unwrap();
    }
    for (user, root) in [(&alice, "$nowhere"), (&bob, &*root)] {
        put(user, &room, root, json!({})).await.expect_error(404, "M_NOT_FOUND").unwrap();
        get(user, &room, root).await.expect_error(404, "M_NOT_FOUND").unwrap();
    }
    let answer = put(&alice, &room, &root, json!({ "automatic": 5 })).await;
    answer.expect_error(400, "M_BAD_JSON").unwrap();
    for rest in ["?dir=f", "?limit=0", "?from=x", "?to=x"] {
        let answer = alice.api.get(&format!("{LIST}{rest}")).await.unwrap();
        answer.expect_error(400, "M_INVALID_PARAM").unwrap();
    }
    let anonymous = support::anonymous().await;
    for target in [&subscription(&room, &root), LIST] {
        anonymous.get(target).await.unwrap().expect_error(401, "M_MISSING_TOKEN").unwrap();
    }
}
