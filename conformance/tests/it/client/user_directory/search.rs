//! POST /_matrix/client/v3/user_directory/search

use serde_json::{Value, json};
use starling_conformance::{
    client::{PASSWORD, User, path},
    servers::Server,
};

use crate::{scene::Scene, support};

const SEARCH: &str = "/_matrix/client/v3/user_directory/search";

async fn search(user: &User, term: &str) -> Value {
    user.api.post(SEARCH, json!({ "search_term": term })).await.unwrap().ok().unwrap()
}

async fn ids(user: &User, term: &str) -> Vec<String> {
    let found = search(user, term).await;
    let users = found["results"].as_array().unwrap().iter();
    users.map(|user| user["user_id"].as_str().unwrap().to_owned()).collect()
}

async fn set(user: &User, field: &str, value: &str) {
    let target = path("/_matrix/client/v3/profile/{}/{}", &[&user.id, field]);
    user.api.put(&target, json!({ field: value })).await.unwrap().ok().unwrap();
}

/// A word that no other test says.
fn word(user: &User) -> String {
    let (_, suffix) = user.id.split_once('-').unwrap();
    suffix.split(':').next().unwrap().to_owned()
}

#[tokio::test]
async fn users_are_found_by_the_beginnings_of_their_names() {
    let (alice, bob) = (support::user("alice").await, support::user("bob").await);
    let room = alice.create_room(json!({ "preset": "private_chat" })).await.unwrap();
    alice.invite(&room, &bob.id).await.unwrap();
    bob.join(&room, &[]).await.unwrap();
    let own = word(&bob);
    set(&bob, "displayname", &format!("Müller 山田花子 {own}")).await;
    set(&bob, "avatar_url", "mxc://example.org/bob").await;
    let expected = json!({
        "user_id": bob.id, "display_name": format!("Müller 山田花子 {own}"),
        "avatar_url": "mxc://example.org/bob",
    });
    let localpart = bob.id.trim_start_matches('@').split(':').next().unwrap();
    for term in [
        format!("mul {own}"),
        format!("MÜLLER {}", own.to_uppercase()),
        format!("花子 {own}"),
        localpart.to_owned(),
        localpart.to_uppercase(),
        bob.id.clone(),
    ] {
        let found = search(&alice, &term).await;
        assert_eq!(found, json!({ "results": [expected], "limited": false }), "{term}");
    }
    for term in [format!("uller {own}"), format!("子花 {own}"), format!("{}x", bob.id)] {
        assert_eq!(ids(&alice, &term).await, [""; 0], "{term}");
    }
    assert_eq!(ids(&bob, &own).await, [""; 0], "with themselves nobody shares a room");
    bob.create_room(json!({ "preset": "public_chat" })).await.unwrap();
    assert_eq!(ids(&bob, &own).await, [&*bob.id], "as anybody finds them");
}

#[tokio::test]
async fn only_those_are_found_who_can_be_seen() {
    let (alice, bob) = (support::user("alice").await, support::user("bob").await);
    let own = word(&bob);
    assert_eq!(ids(&alice, &own).await, [""; 0]);
    let room = bob.create_room(json!({ "preset": "private_chat" })).await.unwrap();
    assert_eq!(ids(&alice, &own).await, [""; 0]);
    bob.invite(&room, &alice.id).await.unwrap();
    assert_eq!(ids(&alice, &own).await, [""; 0], "an invite is no membership");
    alice.join(&room, &[]).await.unwrap();
    assert_eq!(ids(&alice, &own).await, [&*bob.id]);
    alice.leave(&room).await.unwrap();
    assert_eq!(ids(&alice, &own).await, [""; 0]);
    let visible = json!({ "history_visibility": "world_readable" });
    bob.set_state(&room, "m.room.history_visibility", "", visible).await.unwrap();
    assert_eq!(ids(&alice, &own).await, [&*bob.id]);
    let shared = json!({ "history_visibility": "shared" });
    bob.set_state(&room, "m.room.history_visibility", "", shared).await.unwrap();
    assert_eq!(ids(&alice, &own).await, [""; 0]);
    bob.set_state(&room, "m.room.join_rules", "", json!({ "join_rule": "public" })).await.unwrap();
    assert_eq!(ids(&alice, &own).await, [&*bob.id]);
    bob.leave(&room).await.unwrap();
    assert_eq!(ids(&alice, &own).await, [""; 0]);
}

#[tokio::test]
async fn names_of_one_room_stay_there() {
    let (alice, bob) = (support::user("alice").await, support::user("bob").await);
    let own = word(&alice);
    alice.create_public_room().await.unwrap();
    let private = bob.create_room(json!({ "preset": "private_chat" })).await.unwrap();
    bob.invite(&private, &alice.id).await.unwrap();
    alice.join(&private, &[]).await.unwrap();
    let content = json!({ "membership": "join", "displayname": format!("Freddy{own}") });
    alice.set_state(&private, "m.room.member", &alice.id, content).await.unwrap();
    let eve = support::user("eve").await;
    for user in [&bob, &eve] {
        assert_eq!(ids(user, &format!("freddy{own}")).await, [""; 0]);
        assert_eq!(ids(user, &own).await, [&*alice.id]);
    }
}

#[tokio::test]
async fn users_of_other_servers_are_found_too() {
    let scene = Scene::set("12").await;
    let alice = &scene.alice;
    assert_eq!(ids(alice, &scene.mallory).await, [&*scene.mallory]);
    // The room is public.
    let stranger = support::user("stranger").await;
    assert_eq!(ids(&stranger, &scene.mallory).await, [&*scene.mallory]);
    alice.kick(&scene.room.id, &scene.mallory).await.unwrap();
    assert_eq!(ids(alice, &scene.mallory).await, [""; 0]);
}

#[tokio::test]
async fn who_is_gone_is_found_no_more() {
    let (alice, bob) = (support::user("alice").await, support::user("bob").await);
    bob.create_public_room().await.unwrap();
    assert_eq!(ids(&alice, &bob.id).await, [&*bob.id]);
    let body = json!({ "auth": {
        "type": "m.login.password",
        "identifier": { "type": "m.id.user", "user": bob.id },
        "password": PASSWORD,
    } });
    let target = "/_matrix/client/v3/account/deactivate";
    bob.api.post(target, body).await.unwrap().ok().unwrap();
    assert_eq!(ids(&alice, &bob.id).await, [""; 0]);
}

async fn among_all(server: &Server, names: [&str; 3]) -> [User; 3] {
    let mut users = vec![];
    for name in names {
        users.push(User::register(server, name).await.unwrap());
    }
    users.try_into().unwrap()
}

#[tokio::test]
async fn everybody_is_found_where_that_is_wanted_and_nobody_where_not() {
    let spec = support::spec().with_setting("USER_DIRECTORY__SEARCH_ALL_USERS", "true");
    let server = support::start(spec).await;
    let [alice, one, two] = among_all(&server, ["alice", "anna", "anton"]).await;
    let mut both = ids(&alice, "an").await;
    both.sort();
    assert_eq!(both, [&*one.id, &*two.id]);
    set(&two, "displayname", "Anna").await;
    // Who is called so comes first.
    assert_eq!(ids(&alice, "anna").await, [&*two.id, &*one.id]);
    for (limit, found, limited) in
        [(0, 0, true), (1, 1, true), (2, 2, false), (1_000_000_000_000_i64, 2, false)]
    {
        let body = json!({ "search_term": "an", "limit": limit });
        let answer = alice.api.post(SEARCH, body).await.unwrap().ok().unwrap();
        let results = answer["results"].as_array().unwrap().len();
        assert_eq!((results, &answer["limited"]), (found, &json!(limited)), "{limit}");
    }

    let spec = support::spec().with_setting("USER_DIRECTORY__ENABLED", "false");
    let server = support::start(spec).await;
    let [alice, one, _] = among_all(&server, ["alice", "anna", "anton"]).await;
    one.create_public_room().await.unwrap();
    let nobody = json!({ "results": [], "limited": false });
    assert_eq!(search(&alice, "anna").await, nobody);
}

#[tokio::test]
async fn what_is_no_search_is_refused() {
    let alice = support::user("alice").await;
    for (body, errcode) in [
        (json!({}), "M_MISSING_PARAM"),
        (json!({ "search_term": 1 }), "M_BAD_JSON"),
        (json!({ "search_term": "x", "limit": -1 }), "M_BAD_JSON"),
        (json!({ "search_term": "x", "limit": "10" }), "M_BAD_JSON"),
    ] {
        let answer = alice.api.post(SEARCH, body).await.unwrap();
        answer.expect_error(400, errcode).unwrap();
    }
    let nobody = json!({ "results": [], "limited": false });
    let long = format!("{}é", "x".repeat(511));
    for term in ["", "@", " :-) ", "\u{0}", "%", "_", &long, &"xqzé ".repeat(100_000)] {
        assert_eq!(search(&alice, term).await, nobody, "{term:?}");
    }
    let anonymous = support::anonymous().await;
    let answer = anonymous.post(SEARCH, json!({ "search_term": "x" })).await.unwrap();
    answer.expect_error(401, "M_MISSING_TOKEN").unwrap();
}

#[tokio::test]
async fn who_searches_without_end_is_stopped() {
    let spec = support::spec().with_setting("RATE_LIMITS__ENABLED", "true");
    let server = support::start(spec).await;
    let alice = User::register(&server, "alice").await.unwrap();
    for _ in 0..200 {
        let answer = alice.api.post(SEARCH, json!({ "search_term": "x" })).await.unwrap();
        if answer.status != 200 {
            let body = answer.expect_error(429, "M_LIMIT_EXCEEDED").unwrap();
            assert!(body["retry_after_ms"].is_u64());
            return;
        }
    }
    panic!("200 searches were let through");
}
