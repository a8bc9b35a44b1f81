//! POST /_synapse/admin/v1/users/{userId}/shadow_ban
//! DELETE /_synapse/admin/v1/users/{userId}/shadow_ban

use serde_json::{Value, json};
use starling_conformance::client::{Sync, User, path, text};

use super::at;
use crate::support;

async fn ban(admin: &User, user: &User) {
    let target = at("/v1/users/{}/shadow_ban", &[&user.id]);
    admin.api.post(&target, json!({})).await.unwrap().ok().unwrap();
    let shown = admin.api.get(&at("/v2/users/{}", &[&user.id])).await.unwrap().ok().unwrap();
    assert_eq!(shown["shadow_banned"], true);
}

#[tokio::test]
async fn what_is_said_seems_to_be_said() {
    let admin = support::admin().await;
    let (alice, mallory) = (support::user("alice").await, support::user("mallory").await);
    let room = alice.create_public_room().await.unwrap();
    mallory.join(&room, &[]).await.unwrap();
    let before = mallory.say(&room, "before").await.unwrap();
    ban(&admin, &mallory).await;
    let content = json!({ "msgtype": "m.text", "body": "spam" });
    let send = async |transaction: &str| {
        let kind = "m.room.message";
        let answer = mallory.try_send(&room, kind, transaction, content.clone()).await.unwrap();
        text(&answer.ok().unwrap(), "/event_id").unwrap().to_owned()
    };
    let first = send("1").await;
    assert!(first.starts_with('$') && first.len() == before.len(), "{first}");
    assert_eq!(first, send("1").await);
    assert_ne!(first, send("2").await);
    mallory.redact(&room, &before).await.unwrap();
    mallory
        .set_state(
            &room,
            "m.room.member",
            &mallory.id,
            json!({ "membership": "join",
        "displayname": "spam" }),
        )
        .await
        .unwrap();
    let typing = path("/_matrix/client/v3/rooms/{}/typing/{}", &[&room, &mallory.id]);
    mallory.api.put(&typing, json!({ "typing": true })).await.unwrap().ok().unwrap();
    let name = path("/_matrix/client/v3/profile/{}/displayname", &[&mallory.id]);
    mallory.api.put(&name, json!({ "displayname": "spam" })).await.unwrap().ok().unwrap();
    mallory.api.get("/_matrix/client/v3/sync").await.unwrap().ok().unwrap();

    let seen = alice.event(&room, &first).await.unwrap();
    seen.expect_error(404, "M_NOT_FOUND").unwrap();
    let marker = alice.say(&room, "after").await.unwrap();
    let history = alice.history(&room).await.unwrap();
    assert_eq!(history.last().unwrap()["event_id"], marker);
    assert!(!Value::from(history).to_string().contains("spam"));
    let kept = alice.event(&room, &before).await.unwrap().ok().unwrap();
    assert_eq!(kept["content"]["body"], "before");

    let target = at("/v1/users/{}/shadow_ban", &[&mallory.id]);
    admin.api.delete(&target).await.unwrap().ok().unwrap();
    let mut sync = Sync::start(&alice).await.unwrap();
    let sorry = mallory.say(&room, "sorry").await.unwrap();
    sync.event_with_id(&room, &sorry).await.unwrap();
}

#[tokio::test]
async fn nobody_is_bothered_and_rooms_are_left_alone() {
    let admin = support::admin().await;
    let (alice, mallory) = (support::user("alice").await, support::user("mallory").await);
    ban(&admin, &mallory).await;
    let body = json!({ "preset": "public_chat", "invite": [alice.id] });
    let room = mallory.create_room(body).await.unwrap();
    mallory.invite(&room, &alice.id).await.unwrap();
    let sync = alice.api.get("/_matrix/client/v3/sync").await.unwrap().ok().unwrap();
    assert!(sync["rooms"]["invite"].get(&room).is_none(), "{sync}");
    let upgrade = path("/_matrix/client/v3/rooms/{}/upgrade", &[&room]);
    let answer = mallory.api.post(&upgrade, json!({ "new_version": "12" })).await.unwrap();
    assert!(text(&answer.ok().unwrap(), "/replacement_room").unwrap().starts_with('!'));
    let tombstone = mallory.state(&room, "m.room.tombstone", "").await.unwrap();
    tombstone.expect_error(404, "M_NOT_FOUND").unwrap();
    alice.join(&room, &[]).await.unwrap();
    mallory.kick(&room, &alice.id).await.unwrap();
    mallory.ban(&room, &alice.id).await.unwrap();
    mallory.unban(&room, &alice.id).await.unwrap();
    let member = alice.state(&room, "m.room.member", &alice.id).await.unwrap().ok().unwrap();
    assert_eq!(member["membership"], "join");
    let closed = alice
        .create_room(json!({ "initial_state": [{ "type": "m.room.join_rules",
        "content": { "join_rule": "knock" } }] }))
        .await
        .unwrap();
    let knock = path("/_matrix/client/v3/knock/{}", &[&closed]);
    mallory.api.post(&knock, json!({})).await.unwrap().ok().unwrap();
    let member = alice.state(&closed, "m.room.member", &mallory.id).await.unwrap();
    member.expect_error(404, "M_NOT_FOUND").unwrap();
    mallory.leave(&room).await.unwrap();
}

#[tokio::test]
async fn administrators_and_strangers_are_not_shadow_banned() {
    let (admin, other) = (support::admin().await, support::admin().await);
    let alice = support::user("alice").await;
    let nobody = alice.id.replace("@alice", "@nobody");
    for (user, status, errcode) in [
        (other.id.as_str(), 403, "M_FORBIDDEN"),
        (admin.id.as_str(), 400, "M_INVALID_PARAM"),
        (nobody.as_str(), 404, "M_NOT_FOUND"),
        ("@a:elsewhere.example", 400, "M_INVALID_PARAM"),
    ] {
        let target = at("/v1/users/{}/shadow_ban", &[user]);
        let answer = admin.api.post(&target, json!({})).await.unwrap();
        answer.expect_error(status, errcode).unwrap();
    }
}
