//! GET /_matrix/client/v1/admin/suspend/{userId}
//! PUT /_matrix/client/v1/admin/suspend/{userId}

use serde_json::{Value, json};
use starling_conformance::{
    client::{Answer, User, path},
    random,
};

use crate::support;

fn of(user: &str) -> String {
    path("/_matrix/client/v1/admin/suspend/{}", &[user])
}

async fn suspend(admin: &User, user: &str, suspended: bool) -> Answer {
    admin.api.put(&of(user), json!({ "suspended": suspended })).await.unwrap()
}

async fn send(user: &User, room: &str) -> Answer {
    let content = json!({ "msgtype": "m.text", "body": "x" });
    user.try_send(room, "m.room.message", &random::suffix().unwrap(), content).await.unwrap()
}

#[tokio::test]
async fn a_suspended_account_reads_and_leaves_and_does_little_else() {
    let admin = support::admin().await;
    let (alice, bob) = (support::user("alice").await, support::user("bob").await);
    let room = alice.create_public_room().await.unwrap();
    let other = bob.create_public_room().await.unwrap();
    bob.join(&room, &[]).await.unwrap();
    let by_alice = alice.say(&room, "a").await.unwrap();
    let by_bob = bob.say(&room, "b").await.unwrap();
    let answer = suspend(&admin, &alice.id, true).await.ok().unwrap();
    assert_eq!(answer, json!({ "suspended": true }));
    let refused = |answer: Answer| answer.expect_error(403, "M_USER_SUSPENDED").unwrap();
    refused(send(&alice, &room).await);
    refused(alice.try_join(&other, &[]).await.unwrap());
    let client = "/_matrix/client/v3";
    refused(
        alice.api.post(&path("/_matrix/client/v3/knock/{}", &[&other]), json!({})).await.unwrap(),
    );
    refused(alice.api.post(&format!("{client}/createRoom"), json!({})).await.unwrap());
    let name = path("/_matrix/client/v3/profile/{}/displayname", &[&alice.id]);
    refused(alice.api.put(&name, json!({ "displayname": "x" })).await.unwrap());
    let invite = path("/_matrix/client/v3/rooms/{}/invite", &[&room]);
    refused(alice.api.post(&invite, json!({ "user_id": admin.id })).await.unwrap());
    let redact = |event: &str| path("/_matrix/client/v3/rooms/{}/redact/{}/1", &[&room, event]);
    refused(alice.api.put(&redact(&by_bob), json!({})).await.unwrap());

    alice.api.put(&redact(&by_alice), json!({})).await.unwrap().ok().unwrap();
    alice.api.get(&format!("{client}/sync")).await.unwrap().ok().unwrap();
    assert!(!alice.history(&room).await.unwrap().is_empty());
    alice.login().await.unwrap();
    alice.leave(&room).await.unwrap();

    suspend(&admin, &alice.id, false).await.ok().unwrap();
    alice.join(&room, &[]).await.unwrap();
    send(&alice, &room).await.ok().unwrap();
}

#[tokio::test]
async fn administrators_only_and_not_over_each_other() {
    let admin = support::admin().await;
    let other = support::admin().await;
    let alice = support::user("alice").await;
    let nobody = alice.id.replace("@alice", "@nobody");
    for user in [&alice.id, &nobody, &other.id] {
        suspend(&alice, user, true).await.expect_error(403, "M_FORBIDDEN").unwrap();
        let answer = alice.api.get(&of(user)).await.unwrap();
        answer.expect_error(403, "M_FORBIDDEN").unwrap();
    }
    suspend(&admin, &admin.id, true).await.expect_error(403, "M_FORBIDDEN").unwrap();
    suspend(&admin, &other.id, true).await.expect_error(403, "M_FORBIDDEN").unwrap();
    suspend(&admin, &nobody, true).await.expect_error(404, "M_NOT_FOUND").unwrap();
    let elsewhere = "@alice:elsewhere.example";
    suspend(&admin, elsewhere, true).await.expect_error(400, "M_INVALID_PARAM").unwrap();
    let answer = admin.api.get(&of(&nobody)).await.unwrap();
    answer.expect_error(404, "M_NOT_FOUND").unwrap();
    let answer = admin.api.get(&of(elsewhere)).await.unwrap();
    answer.expect_error(400, "M_INVALID_PARAM").unwrap();
    let answer = admin.api.put(&of(&alice.id), json!({})).await.unwrap();
    answer.expect_error(400, "M_MISSING_PARAM").unwrap();
    let answer = support::anonymous().await.get(&of(&alice.id)).await.unwrap();
    answer.expect_error(401, "M_MISSING_TOKEN").unwrap();
    let answer = admin.api.get(&of(&alice.id)).await.unwrap().ok().unwrap();
    assert_eq!(answer, json!({ "suspended": false }));
}

#[tokio::test]
async fn clients_of_administrators_are_told_that_they_can() {
    let moderation = async |user: &User| -> Value {
        let body = user.api.get("/_matrix/client/v3/capabilities").await.unwrap().ok().unwrap();
        body["capabilities"]["m.account_moderation"].clone()
    };
    let told = moderation(&support::admin().await).await;
    assert_eq!(told, json!({ "suspend": true, "lock": true }));
    assert_eq!(moderation(&support::user("alice").await).await, Value::Null);
}
