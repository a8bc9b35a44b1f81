//! POST /_matrix/client/v3/rooms/{roomId}/kick
//! POST /_matrix/client/v3/rooms/{roomId}/ban
//! POST /_matrix/client/v3/rooms/{roomId}/unban

use serde_json::json;
use starling_conformance::client::{Answer, User, path};

use crate::support;

async fn act(user: &User, room: &str, verb: &str, target: &str) -> Answer {
    let body = json!({ "user_id": target });
    user.api.post(&path("/_matrix/client/v3/rooms/{}/{}", &[room, verb]), body).await.unwrap()
}

#[tokio::test]
async fn who_has_no_power_removes_nobody() {
    let alice = support::user("alice").await;
    let bob = support::user("bob").await;
    let room = alice.create_public_room().await.unwrap();
    bob.join(&room, &[]).await.unwrap();
    for verb in ["kick", "ban", "unban"] {
        act(&bob, &room, verb, &alice.id).await.expect_error(403, "M_FORBIDDEN").unwrap();
    }
}

#[tokio::test]
async fn one_is_kicked_only_from_where_one_is_and_unbanned_only_when_banned() {
    let alice = support::user("alice").await;
    let bob = support::user("bob").await;
    let room = alice.create_public_room().await.unwrap();
    for verb in ["kick", "unban"] {
        act(&alice, &room, verb, &bob.id).await.expect_error(403, "M_FORBIDDEN").unwrap();
    }
    act(&alice, &room, "ban", &bob.id).await.ok().unwrap();
    bob.try_join(&room, &[]).await.unwrap().expect_error(403, "M_FORBIDDEN").unwrap();
    act(&alice, &room, "unban", &bob.id).await.ok().unwrap();
    bob.join(&room, &[]).await.unwrap();
    act(&alice, &room, "kick", &bob.id).await.ok().unwrap();
}
