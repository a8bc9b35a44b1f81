//! GET /_matrix/client/v3/presence/{userId}/status
//! PUT /_matrix/client/v3/presence/{userId}/status

use serde_json::{Value, json};
use starling_conformance::client::{Sync, User, path};

use crate::{scene::Scene, support};

fn status(user: &str) -> String {
    path("/_matrix/client/v3/presence/{}/status", &[user])
}

async fn set(user: &User, body: Value) {
    user.api.put(&status(&user.id), body).await.unwrap().ok().unwrap();
}

fn says<'a>(answer: &'a Value, user: &str) -> Option<&'a Value> {
    let events = answer["presence"]["events"].as_array()?;
    events.iter().rfind(|event| event["sender"] == user).map(|event| &event["content"])
}

#[tokio::test]
async fn those_who_share_a_room_hear_of_it() {
    let (alice, bob) = (support::user("alice").await, support::user("bob").await);
    bob.api.get(&status(&alice.id)).await.unwrap().expect_error(403, "M_FORBIDDEN").unwrap();
    let room = alice.create_public_room().await.unwrap();
    bob.join(&room, &[]).await.unwrap();
    let mut sync = Sync::start(&bob).await.unwrap();
    set(&alice, json!({ "presence": "online", "status_msg": "here" })).await;
    let is_here =
        |answer: &Value| says(answer, &alice.id).is_some_and(|it| it["status_msg"] == "here");
    sync.until("alice being here", is_here).await.unwrap();
    let seen = bob.api.get(&status(&alice.id)).await.unwrap().ok().unwrap();
    assert_eq!((&seen["presence"], &seen["currently_active"]), (&json!("online"), &json!(true)));
    set(&alice, json!({ "presence": "offline" })).await;
    let is_gone =
        |answer: &Value| says(answer, &alice.id).is_some_and(|it| it["presence"] == "offline");
    sync.until("alice being gone", is_gone).await.unwrap();
}

#[tokio::test]
async fn a_sync_says_whether_one_is_there() {
    let (alice, bob) = (support::user("alice").await, support::user("bob").await);
    let room = alice.create_public_room().await.unwrap();
    bob.join(&room, &[]).await.unwrap();
    let see = async |query: &str, wanted: &str| {
        let target = format!("/_matrix/client/v3/sync?timeout=0&set_presence={query}");
        alice.api.get(&target).await.unwrap().ok().unwrap();
        let seen = bob.api.get(&status(&alice.id)).await.unwrap().ok().unwrap();
        assert_eq!(seen["presence"], wanted, "after {query}");
    };
    see("offline", "offline").await;
    see("unavailable", "unavailable").await;
    see("online", "online").await;
    let answer = alice.api.get("/_matrix/client/v3/sync?set_presence=busy").await.unwrap();
    answer.expect_error(400, "M_INVALID_PARAM").unwrap();
}

#[tokio::test]
async fn who_joins_learns_who_is_there() {
    let (alice, bob) = (support::user("alice").await, support::user("bob").await);
    let room = alice.create_public_room().await.unwrap();
    let (mut of_alice, mut of_bob) =
        (Sync::start(&alice).await.unwrap(), Sync::start(&bob).await.unwrap());
    bob.join(&room, &[]).await.unwrap();
    let sees = |user: &str| {
        let user = user.to_owned();
        move |answer: &Value| says(answer, &user).is_some_and(|it| it["presence"] == "online")
    };
    of_bob.until("alice", sees(&alice.id)).await.unwrap();
    of_alice.until("bob", sees(&bob.id)).await.unwrap();
}

#[tokio::test]
async fn presence_crosses_servers_in_both_directions() {
    let mut scene = Scene::set("12").await;
    let mallory = scene.mallory.clone();
    let answer = scene.alice.api.get(&status(&mallory)).await.unwrap();
    answer.expect_error(404, "M_NOT_FOUND").unwrap();
    let push = json!([{
        "user_id": mallory, "presence": "online", "last_active_ago": 7, "status_msg": "hi",
    }]);
    let edu = json!({ "edu_type": "m.presence", "content": { "push": push } });
    scene.peer.send_edus(scene.server, json!([edu])).await.unwrap();
    let sees = |answer: &Value| says(answer, &mallory).is_some_and(|it| it["status_msg"] == "hi");
    scene.sync.until("mallory", sees).await.unwrap();
    set(&scene.alice, json!({ "presence": "unavailable", "status_msg": "hello" })).await;
    let alice = scene.alice.id.clone();
    let tells = |edu: &Value| {
        let pushed = edu["content"]["push"].as_array().map(Vec::as_slice).unwrap_or_default();
        edu["edu_type"] == "m.presence"
            && pushed.iter().any(|it| it["user_id"] == *alice && it["status_msg"] == "hello")
    };
    let told = scene.peer.received("alice's presence", |request| request.edus().any(tells));
    told.await.unwrap();
}

#[tokio::test]
async fn refusals() {
    let (alice, bob) = (support::user("alice").await, support::user("bob").await);
    let online = json!({ "presence": "online" });
    let answer = alice.api.put(&status(&bob.id), online.clone()).await.unwrap();
    answer.expect_error(403, "M_FORBIDDEN").unwrap();
    let answer = alice.api.put(&status(&alice.id), json!({ "presence": "busy" })).await.unwrap();
    answer.expect_error(400, "M_BAD_JSON").unwrap();
    let answer = alice.api.put(&status(&alice.id), json!({})).await.unwrap();
    answer.expect_error(400, "M_MISSING_PARAM").unwrap();
    let long = json!({ "presence": "online", "status_msg": "x".repeat(2_000) });
    let answer = alice.api.put(&status(&alice.id), long).await.unwrap();
    answer.expect_error(413, "M_TOO_LARGE").unwrap();
    let anonymous = support::anonymous().await;
    let answer = anonymous.get(&status(&alice.id)).await.unwrap();
    answer.expect_error(401, "M_MISSING_TOKEN").unwrap();
    let answer = anonymous.put(&status(&alice.id), online).await.unwrap();
    answer.expect_error(401, "M_MISSING_TOKEN").unwrap();
    let answer = alice.api.get(&status("nobody")).await.unwrap();
    answer.expect_error(400, "M_INVALID_PARAM").unwrap();
}
