//! POST /_matrix/client/v3/account/deactivate

use serde_json::json;
use starling_conformance::client::{PASSWORD, Sync, User, path};

use crate::support;

#[tokio::test]
async fn a_closed_account_leaves_its_rooms_and_lets_nobody_in() {
    let alice = support::user("alice").await;
    let bob = support::user("bob").await;
    let room = bob.create_public_room().await.unwrap();
    alice.join(&room, &[]).await.unwrap();
    let mut sync = Sync::start(&bob).await.unwrap();
    let identifier = json!({ "type": "m.id.user", "user": alice.id });
    let auth = json!({ "type": "m.login.password", "identifier": identifier,
                       "password": PASSWORD });
    let path = "/_matrix/client/v3/account/deactivate";
    alice.api.post(path, json!({})).await.unwrap().expect_status(401).unwrap();
    alice.api.post(path, json!({ "auth": &auth })).await.unwrap().ok().unwrap();
    let whoami = alice.api.get("/_matrix/client/v3/account/whoami").await.unwrap();
    whoami.expect_error(401, "M_UNKNOWN_TOKEN").unwrap();
    let body = json!({ "type": "m.login.password", "identifier": auth["identifier"],
                       "password": PASSWORD });
    let answer = support::anonymous().await.post("/_matrix/client/v3/login", body).await.unwrap();
    answer.expect_error(403, "M_USER_DEACTIVATED").unwrap();
    sync.membership(&room, &alice.id, "leave").await.unwrap();
}

#[tokio::test]
async fn what_an_erased_account_said_is_hidden_from_who_came_later() {
    let (alice, bob) = (support::user("alice").await, support::user("bob").await);
    let room = alice.create_public_room().await.unwrap();
    bob.join(&room, &[]).await.unwrap();
    let said = alice.say(&room, "a secret").await.unwrap();
    let by_bob = bob.say(&room, "no secret").await.unwrap();
    let data = path("/_matrix/client/v3/user/{}/account_data/org.example", &[&alice.id]);
    alice.api.put(&data, json!({ "a": 1 })).await.unwrap().ok().unwrap();
    let mut sync = Sync::start(&bob).await.unwrap();
    let identifier = json!({ "type": "m.id.user", "user": alice.id });
    let auth = json!({ "type": "m.login.password", "identifier": identifier,
                       "password": PASSWORD });
    let body = json!({ "auth": auth, "erase": true });
    let target = "/_matrix/client/v3/account/deactivate";
    alice.api.post(target, body).await.unwrap().ok().unwrap();
    sync.membership(&room, &alice.id, "leave").await.unwrap();

    let carol = support::user("carol").await;
    carol.join(&room, &[]).await.unwrap();
    let event =
        async |user: &User, event: &str| user.event(&room, event).await.unwrap().ok().unwrap();
    assert_eq!(event(&bob, &said).await["content"]["body"], "a secret");
    assert_eq!(event(&carol, &said).await["content"], json!({}));
    assert_eq!(event(&carol, &by_bob).await["content"]["body"], "no secret");
    let seen = carol.history(&room).await.unwrap();
    assert!(seen.iter().any(|event| event["event_id"] == said.as_str()));
    assert!(!serde_json::to_string(&seen).unwrap().contains("a secret"));
    let name = path("/_matrix/client/v3/profile/{}", &[&alice.id]);
    let profile = support::anonymous().await.get(&name).await.unwrap();
    assert!(profile.status == 404 || profile.body == json!({}), "{profile:?}");
}
