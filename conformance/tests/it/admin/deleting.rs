//! DELETE /_synapse/admin/v1/rooms/{roomId}
//! DELETE /_synapse/admin/v2/rooms/{roomId}
//! POST /_synapse/admin/v1/purge_history/{roomId}
//! POST /_synapse/admin/v1/user/{userId}/redact
//! and how far that is.

use std::time::{Duration, Instant};

use http::Method;
use serde_json::{Value, json};
use starling_conformance::client::{Sync, User, path};

use super::at;
use crate::support;

const PATIENCE: Duration = Duration::from_secs(60);

/// Asks until the work has ended.
async fn end(admin: &User, target: &str) -> Value {
    let begun = Instant::now();
    loop {
        let status = admin.api.get(target).await.unwrap().ok().unwrap();
        if !matches!(status["status"].as_str().unwrap(), "scheduled" | "active") {
            return status;
        }
        assert!(begun.elapsed() < PATIENCE, "{status}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn delete(admin: &User, room: &str, body: Value) -> Value {
    let target = at("/v2/rooms/{}", &[room]);
    let answer = admin.api.request(Method::DELETE, &target, Some(&body)).await.unwrap();
    let id = answer.ok().unwrap()["delete_id"].as_str().unwrap().to_owned();
    end(admin, &at("/v2/rooms/delete_status/{}", &[&id])).await
}

#[tokio::test]
async fn a_room_is_removed_and_its_members_are_told() {
    let admin = support::admin().await;
    let (alice, bob) = (support::user("alice").await, support::user("bob").await);
    let name = alice.id.split([':', '@']).nth(1).unwrap();
    let options = json!({ "preset": "public_chat", "room_alias_name": name });
    let room = alice.create_room(options).await.unwrap();
    bob.join(&room, &[]).await.unwrap();
    bob.say(&room, "soon gone").await.unwrap();
    let mut sync = Sync::start(&alice).await.unwrap();
    let body = json!({
        "new_room_user_id": admin.id, "room_name": "Why", "message": "Because", "block": true,
    });
    let status = delete(&admin, &room, body).await;
    assert_eq!(status["status"], "complete", "{status}");
    let done = &status["shutdown_room"];
    let mut kicked = done["kicked_users"].as_array().unwrap().clone();
    kicked.sort_by_key(Value::to_string);
    assert_eq!(kicked, [json!(alice.id), json!(bob.id)]);
    assert_eq!(done["failed_to_kick_users"], json!([]));
    let alias = &done["local_aliases"][0];
    assert!(alias.as_str().unwrap().contains(name), "{done}");
    let new_room = done["new_room_id"].as_str().unwrap();

    let target = at("/v1/rooms/{}", &[&room]);
    admin.api.get(&target).await.unwrap().expect_error(404, "M_NOT_FOUND").unwrap();
    alice.try_join(&room, &[]).await.unwrap().expect_error(403, "M_FORBIDDEN").unwrap();
    let named = path("/_matrix/client/v3/directory/room/{}", &[alias.as_str().unwrap()]);
    let named = alice.api.get(&named).await.unwrap().ok().unwrap();
    assert_eq!(named["room_id"], *new_room);
    sync.membership(new_room, &alice.id, "join").await.unwrap();
    let history = alice.history(new_room).await.unwrap();
    assert!(history.iter().any(|event| event["content"]["body"] == "Because"));
    let say = alice.try_send(new_room, "m.room.message", "x", json!({})).await.unwrap();
    say.expect_error(403, "M_FORBIDDEN").unwrap();
    let joined = alice.api.get("/_matrix/client/v3/joined_rooms").await.unwrap().ok().unwrap();
    assert_eq!(joined["joined_rooms"], json!([new_room]));

    let of_room = at("/v2/rooms/{}/delete_status", &[&room]);
    let of_room = admin.api.get(&of_room).await.unwrap().ok().unwrap();
    assert_eq!(of_room["results"][0]["delete_id"], status["delete_id"]);
}

#[tokio::test]
async fn removals_are_refused_that_make_no_sense() {
    let admin = support::admin().await;
    let alice = support::user("alice").await;
    let room = alice.create_public_room().await.unwrap();
    let ask = async |version: &str, room: &str, body: Value| {
        let target = at(&format!("/{version}/rooms/{{}}"), &[room]);
        admin.api.request(Method::DELETE, &target, Some(&body)).await.unwrap()
    };
    let nowhere = "!nowhere:example.org";
    for version in ["v1", "v2"] {
        let answer = ask(version, nowhere, json!({})).await;
        answer.expect_error(404, "M_NOT_FOUND").unwrap();
        let body = json!({ "new_room_user_id": "@x:elsewhere.example.org" });
        ask(version, &room, body).await.expect_error(400, "M_INVALID_PARAM").unwrap();
    }
    for target in ["/v2/rooms/delete_status/{}", "/v2/rooms/{}/delete_status"] {
        let answer = admin.api.get(&at(target, &[nowhere])).await.unwrap();
        answer.expect_error(404, "M_NOT_FOUND").unwrap();
    }
    let unheard_of = format!("!{}:example.org", alice.device);
    ask("v1", &unheard_of, json!({ "block": true })).await.ok().unwrap();
    let block = at("/v1/rooms/{}/block", &[&unheard_of]);
    assert_eq!(admin.api.get(&block).await.unwrap().ok().unwrap()["block"], true);
    // The first version answers when it is done, and can keep what is stored.
    let done = ask("v1", &room, json!({ "purge": false })).await.ok().unwrap();
    assert_eq!(done["kicked_users"], json!([alice.id]));
    let kept = admin.api.get(&at("/v1/rooms/{}", &[&room])).await.unwrap().ok().unwrap();
    assert_eq!(kept["joined_members"], 0);
    ask("v1", &room, json!({})).await.ok().unwrap();
    let gone = admin.api.get(&at("/v1/rooms/{}", &[&room])).await.unwrap();
    gone.expect_error(404, "M_NOT_FOUND").unwrap();
}

/// Case 41: what was purged is joined again from a server that still has it.
#[tokio::test]
async fn a_purged_room_is_joined_again_over_federation() {
    let (here, there) = support::pair().await;
    let admin = User::admin(here, "admin").await.unwrap();
    let alice = User::register(here, "alice").await.unwrap();
    let bob = User::register(there, "bob").await.unwrap();
    let room = bob.create_public_room().await.unwrap();
    let retention = json!({ "max_lifetime": 1_000_000_000_000_i64 });
    bob.set_state(&room, "m.room.retention", "", retention).await.unwrap();
    alice.join(&room, &[there.name()]).await.unwrap();
    let root = bob.say(&room, "thread").await.unwrap();
    let mut sync = Sync::start(&alice).await.unwrap();
    sync.event_with_id(&room, &root).await.unwrap();
    let relation = json!({ "rel_type": "m.thread", "event_id": root });
    let reply = json!({ "msgtype": "m.text", "body": "reply", "m.relates_to": relation });
    alice.send(&room, "m.room.message", reply).await.unwrap();
    let receipt = path("/_matrix/client/v3/rooms/{}/receipt/m.read/{}", &[&room, &root]);
    alice.api.post(&receipt, json!({})).await.unwrap().ok().unwrap();
    let mut there_sync = Sync::start(&bob).await.unwrap();

    for round in 0..2 {
        let status = delete(&admin, &room, json!({})).await;
        assert_eq!(status["status"], "complete", "{status}");
        there_sync.membership(&room, &alice.id, "leave").await.unwrap();
        let meanwhile = bob.say(&room, &format!("meanwhile {round}")).await.unwrap();
        alice.join(&room, &[there.name()]).await.unwrap();
        let mut sync = Sync::start(&alice).await.unwrap();
        let after = bob.say(&room, &format!("after {round}")).await.unwrap();
        sync.event_with_id(&room, &after).await.unwrap();
        let history = alice.history(&room).await.unwrap();
        let has = |id: &str| history.iter().any(|event| event["event_id"] == id);
        assert!(has(&meanwhile) && has(&root), "round {round}: {history:#?}");
        let back = alice.say(&room, &format!("back {round}")).await.unwrap();
        there_sync.event_with_id(&room, &back).await.unwrap();
    }
}

#[tokio::test]
async fn history_is_purged_up_to_an_event() {
    let admin = support::admin().await;
    let alice = support::user("alice").await;
    let room = alice.create_public_room().await.unwrap();
    let mut said = Vec::new();
    for number in 0..6 {
        said.push(alice.say(&room, &format!("message {number}")).await.unwrap());
    }
    let purge = async |target: String, body: Value| {
        let answer = admin.api.post(&target, body).await.unwrap().ok().unwrap();
        let id = answer["purge_id"].as_str().unwrap().to_owned();
        end(&admin, &at("/v1/purge_history_status/{}", &[&id])).await
    };
    let bodies = async || -> Vec<String> {
        let history = alice.history(&room).await.unwrap();
        let text = |event: &Value| event["content"]["body"].as_str().map(str::to_owned);
        history.iter().filter_map(text).collect()
    };
    // What was made here stays unless it is said otherwise.
    let up_to = at("/v1/purge_history/{}/{}", &[&room, &said[4]]);
    let status = purge(up_to.clone(), json!({})).await;
    assert_eq!((&status["status"], &status["purged_events"]), (&json!("complete"), &json!(0)));
    assert_eq!(bodies().await.len(), 6);
    let status = purge(up_to, json!({ "delete_local_events": true })).await;
    assert_eq!((&status["status"], &status["purged_events"]), (&json!("complete"), &json!(4)));
    assert_eq!(bodies().await, ["message 4", "message 5"]);
    alice.event(&room, &said[0]).await.unwrap().expect_error(404, "M_NOT_FOUND").unwrap();
    alice.state(&room, "m.room.create", "").await.unwrap().ok().unwrap();
    // The newest message stays, whatever time is given.
    let all = json!({ "delete_local_events": true, "purge_up_to_event_id": said[5] });
    let status = purge(at("/v1/purge_history/{}", &[&room]), all).await;
    assert_eq!(status["purged_events"], 1);
    assert_eq!(bodies().await, ["message 5"]);
    alice.say(&room, "goes on").await.unwrap();

    let target = at("/v1/purge_history/{}", &[&room]);
    let answer = admin.api.post(&target, json!({})).await.unwrap();
    answer.expect_error(400, "M_BAD_JSON").unwrap();
    for body in [
        json!({ "purge_up_to_event_id": "$nowhere" }),
        json!({ "purge_up_to_ts": 9_000_000_000_000_i64 }),
    ] {
        let answer = admin.api.post(&target, body).await.unwrap();
        answer.expect_error(404, "M_NOT_FOUND").unwrap();
    }
    let status = at("/v1/purge_history_status/{}", &["nothing"]);
    admin.api.get(&status).await.unwrap().expect_error(404, "M_NOT_FOUND").unwrap();
}

#[tokio::test]
async fn what_a_user_said_is_redacted() {
    let admin = support::admin().await;
    let (alice, mallory) = (support::user("alice").await, support::user("mallory").await);
    let room = alice.create_public_room().await.unwrap();
    mallory.join(&room, &[]).await.unwrap();
    let kept = alice.say(&room, "kept").await.unwrap();
    let spam =
        [mallory.say(&room, "spam").await.unwrap(), mallory.say(&room, "more").await.unwrap()];
    let target = at("/v1/user/{}/redact", &[&mallory.id]);
    let body = json!({ "rooms": [], "reason": "spam" });
    let answer = admin.api.post(&target, body).await.unwrap().ok().unwrap();
    let id = answer["redact_id"].as_str().unwrap();
    let status = end(&admin, &at("/v1/user/redact_status/{}", &[id])).await;
    assert_eq!(status, json!({ "status": "complete", "failed_redactions": {} }));
    for event in &spam {
        let event = alice.event(&room, event).await.unwrap().ok().unwrap();
        assert_eq!(event["content"], json!({}));
        assert_eq!(event["unsigned"]["redacted_because"]["content"]["reason"], "spam");
    }
    let kept = alice.event(&room, &kept).await.unwrap().ok().unwrap();
    assert_eq!(kept["content"]["body"], "kept");
    for (body, errcode) in
        [(json!({}), "M_MISSING_PARAM"), (json!({ "rooms": [], "limit": 0 }), "M_INVALID_PARAM")]
    {
        let answer = admin.api.post(&target, body).await.unwrap();
        answer.expect_error(400, errcode).unwrap();
    }
    let nothing = at("/v1/user/redact_status/{}", &["nothing"]);
    admin.api.get(&nothing).await.unwrap().expect_error(404, "M_NOT_FOUND").unwrap();
}

/// A removal goes on where the server was stopped, before anybody can make the room anew.
#[tokio::test]
async fn a_removal_outlives_a_restart() {
    let server = support::start(support::spec()).await;
    let admin = User::admin(&server, "admin").await.unwrap();
    let alice = User::register(&server, "alice").await.unwrap();
    let room = alice.create_public_room().await.unwrap();
    for number in 0..40 {
        alice.say(&room, &format!("message {number}")).await.unwrap();
    }
    let target = at("/v2/rooms/{}", &[&room]);
    let answer = admin.api.request(Method::DELETE, &target, Some(&json!({}))).await.unwrap();
    let id = answer.ok().unwrap()["delete_id"].as_str().unwrap().to_owned();
    server.kill().unwrap();
    server.resume().await.unwrap();
    let status = end(&admin, &at("/v2/rooms/delete_status/{}", &[&id])).await;
    assert_eq!(status["status"], "complete", "{status}");
    let gone = admin.api.get(&at("/v1/rooms/{}", &[&room])).await.unwrap();
    gone.expect_error(404, "M_NOT_FOUND").unwrap();
    let memberships = at("/v1/users/{}/joined_rooms", &[&alice.id]);
    assert_eq!(admin.api.get(&memberships).await.unwrap().ok().unwrap()["total"], 0);
}
