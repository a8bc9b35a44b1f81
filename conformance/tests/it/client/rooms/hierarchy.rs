//! GET /_matrix/client/v1/rooms/{roomId}/hierarchy

use serde_json::{Value, json};
use starling_conformance::{
    client::{Answer, Sync, User, path},
    evil::Reply,
};

use crate::support;

const STABLE: &str = "/_matrix/client/v1/rooms/{}/hierarchy";
const OLD: &str = "/_matrix/client/unstable/org.matrix.msc2946/rooms/{}/hierarchy";

async fn hierarchy(user: &User, room: &str, query: &str) -> Answer {
    user.api.get(&format!("{}?{query}", path(STABLE, &[room]))).await.unwrap()
}

fn ids(page: &Value) -> Vec<String> {
    let rooms = page["rooms"].as_array().unwrap().iter();
    rooms.map(|room| room["room_id"].as_str().unwrap().to_owned()).collect()
}

async fn space(user: &User) -> String {
    let body = json!({ "preset": "public_chat", "creation_content": { "type": "m.space" } });
    user.create_room(body).await.unwrap()
}

async fn add(user: &User, parent: &str, child: &str, via: &str) {
    user.set_state(parent, "m.space.child", child, json!({ "via": [via] })).await.unwrap();
}

#[tokio::test]
async fn a_space_is_shown_with_its_rooms_page_by_page() {
    let alice = support::user("alice").await;
    let bob = support::user("bob").await;
    let here = support::server().await.name();
    let (root, inner) = (space(&alice).await, space(&alice).await);
    let open = alice.create_public_room().await.unwrap();
    let closed = alice.create_room(json!({ "preset": "private_chat" })).await.unwrap();
    for child in [&inner, &closed] {
        add(&alice, &root, child, here).await;
    }
    add(&alice, &inner, &open, here).await;
    add(&alice, &inner, &root, here).await;
    let whole = hierarchy(&alice, &root, "").await.ok().unwrap();
    assert_eq!(ids(&whole), [&root, &inner, &open, &closed].map(Clone::clone));
    assert!(whole.get("next_batch").is_none());
    let child = &whole["rooms"][0]["children_state"][0];
    assert_eq!(child["content"], json!({ "via": [here] }));
    assert_eq!(child["sender"], alice.id.as_str());
    assert!(child["origin_server_ts"].is_i64() && child.get("event_id").is_none());
    let old = alice.api.get(&path(OLD, &[&root])).await.unwrap().ok().unwrap();
    assert_eq!(old, whole);

    let first = hierarchy(&bob, &root, "limit=2").await.ok().unwrap();
    assert_eq!(ids(&first), [&root, &inner].map(Clone::clone));
    let from = first["next_batch"].as_str().unwrap();
    let second = hierarchy(&bob, &root, &format!("from={from}")).await.ok().unwrap();
    assert_eq!(ids(&second), [open]);
    assert!(second.get("next_batch").is_none());
    let shallow = hierarchy(&bob, &root, "max_depth=0").await.ok().unwrap();
    assert_eq!(ids(&shallow), std::slice::from_ref(&root));
    let suggested = hierarchy(&bob, &root, "suggested_only=true").await.ok().unwrap();
    assert_eq!(ids(&suggested), std::slice::from_ref(&root));
    for (user, query) in [
        (&alice, format!("from={from}")),
        (&bob, format!("from={from}&max_depth=1")),
        (&bob, format!("from={from}&suggested_only=true")),
        (&bob, "from=nothing".to_owned()),
        (&bob, "limit=0".to_owned()),
        (&bob, "limit=-1".to_owned()),
        (&bob, "max_depth=-1".to_owned()),
        (&bob, "suggested_only=perhaps".to_owned()),
    ] {
        let answer = hierarchy(user, &root, &query).await;
        answer.expect_error(400, "M_INVALID_PARAM").unwrap();
    }
}

#[tokio::test]
async fn who_may_not_know_of_the_room_is_refused() {
    let alice = support::user("alice").await;
    let bob = support::user("bob").await;
    let closed = alice.create_room(json!({ "preset": "private_chat" })).await.unwrap();
    for room in [closed.as_str(), "!nowhere:localhost:1"] {
        hierarchy(&bob, room, "").await.expect_error(403, "M_FORBIDDEN").unwrap();
    }
    alice.invite(&closed, &bob.id).await.unwrap();
    assert_eq!(
        ids(&hierarchy(&bob, &closed, "").await.ok().unwrap()),
        std::slice::from_ref(&closed)
    );
    let answer = support::anonymous().await.get(&path(STABLE, &[&closed])).await.unwrap();
    answer.expect_error(401, "M_MISSING_TOKEN").unwrap();
    hierarchy(&bob, "nothing", "").await.expect_error(400, "M_INVALID_PARAM").unwrap();
}

#[tokio::test]
async fn rooms_of_another_server_are_asked_for_there() {
    let (here, there) = support::pair().await;
    let alice = User::register(here, "alice").await.unwrap();
    let bob = User::register(there, "bob").await.unwrap();
    let (root, far) = (space(&alice).await, space(&bob).await);
    let room = bob.create_public_room().await.unwrap();
    add(&alice, &root, &far, there.name()).await;
    add(&bob, &far, &room, there.name()).await;
    let seen = hierarchy(&alice, &root, "").await.ok().unwrap();
    assert_eq!(ids(&seen), [&root, &far, &room].map(Clone::clone));
    assert_eq!(seen["rooms"][1]["children_state"][0]["state_key"], room.as_str());
    assert_eq!(seen["rooms"][2]["children_state"], json!([]));
    let mut sync = Sync::start(&alice).await.unwrap();
    alice.join(&room, &[there.name()]).await.unwrap();
    sync.membership(&room, &alice.id, "join").await.unwrap();
    let seen = hierarchy(&alice, &root, "").await.ok().unwrap();
    assert_eq!(seen["rooms"][2]["num_joined_members"], 2, "own knowledge goes first");
}

#[tokio::test]
async fn a_peer_that_lies_or_hangs_holds_nobody_up() {
    let alice = support::user("alice").await;
    let (liar, mute) = (support::peer().await, support::peer().await);
    let here = support::server().await.name();
    let root = space(&alice).await;
    let room = alice.create_public_room().await.unwrap();
    add(&alice, &root, "!a:example.org", &mute.name).await;
    add(&alice, &root, "!b:example.org", &liar.name).await;
    add(&alice, &root, &room, here).await;
    mute.answer("hierarchy", Reply::Silence);
    let summary = |id: &str| {
        json!({ "room_id": id, "num_joined_members": 1, "guest_can_join": false,
                "world_readable": true, "children_state": [] })
    };
    let of = |room: Value| json!({ "room": room, "children": [], "inaccessible_children": [] });
    for lie in [
        Reply::ok(of(summary("!other:example.org"))),
        Reply::ok(of(json!({ "room_id": "!b:example.org" }))),
        Reply::ok(json!([])),
        Reply::error(401, "M_UNKNOWN_TOKEN"),
        Reply::error(403, "M_USER_DEACTIVATED"),
        Reply::Bytes(200, "application/json", "[".repeat(100_000).into()),
    ] {
        liar.answer("hierarchy", lie);
        let seen = hierarchy(&alice, &root, "").await.ok().unwrap();
        assert_eq!(ids(&seen), [root.clone(), room.clone()]);
    }
    liar.answer("hierarchy", Reply::ok(of(summary("!b:example.org"))));
    let seen = hierarchy(&alice, &root, "").await.ok().unwrap();
    assert_eq!(ids(&seen), [root, "!b:example.org".to_owned(), room]);
    // A room that asks for members of another is not shown, whatever else is said of it.
    let mut restricted = summary("!c:example.org");
    restricted["world_readable"] = json!(false);
    restricted["join_rule"] = json!("restricted");
    liar.answer("hierarchy", Reply::ok(of(restricted)));
    let other = space(&alice).await;
    add(&alice, &other, "!c:example.org", &liar.name).await;
    let seen = hierarchy(&alice, &other, "").await.ok().unwrap();
    assert_eq!(ids(&seen), [other]);
}
