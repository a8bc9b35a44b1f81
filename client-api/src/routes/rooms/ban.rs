//! POST /_matrix/client/v3/rooms/{roomId}/ban

use ruma::OwnedRoomId;
use serde_json::json;
use starling_engine::rooms::membership::remove::{self, Removal};

use crate::wish::About;
use crate::{
    answer::{Answer, json as answer_json},
    call::Call,
    limits::Doing,
    shadow,
};

pub(crate) async fn post(mut call: Call) -> Answer {
    let session = call.authenticated_to_act().await?;
    call.limit(Doing::Joining, &session)?;
    let room_id: OwnedRoomId = call.path_id(0)?;
    let about: About = call.body_as().await?;
    let (sender, target) = (&session.user_id, &about.target()?);
    if session.is_shadow_banned() {
        return shadow::done();
    }
    let removal = Removal { room_id: &room_id, sender, target, reason: about.reason };
    remove::ban(&call.engine, removal).await?;
    answer_json(&json!({}))
}

#[cfg(test)]
mod tests {
    use http::StatusCode;
    use serde_json::json;

    use crate::testing::TestDoor;

    #[tokio::test]
    async fn kick_ban_and_unban_ask_for_power_and_for_somebody_to_be_there() {
        let door = TestDoor::new().await;
        let (alice, bob) = (door.user("alice").await, door.user("bob").await);
        let room = door.room(&alice, json!({ "preset": "public_chat" })).await;
        let path = |verb: &str| format!("/_matrix/client/v3/rooms/{room}/{verb}");
        let bobs = json!({ "user_id": "@bob:test", "reason": "r" });
        let forbidden = |answer: crate::testing::TestAnswer| {
            answer.refused(StatusCode::FORBIDDEN, "M_FORBIDDEN");
        };
        forbidden(door.post(&path("kick"), &alice, bobs.clone()).await);
        door.post(&path("invite"), &alice, bobs.clone()).await.ok();
        door.post(&path("join"), &bob, json!({})).await.ok();
        forbidden(door.post(&path("ban"), &bob, json!({ "user_id": "@alice:test" })).await);
        door.post(&path("kick"), &alice, bobs.clone()).await.ok();
        forbidden(door.post(&path("unban"), &alice, bobs.clone()).await);
        door.post(&path("ban"), &alice, bobs.clone()).await.ok();
        forbidden(door.post(&path("join"), &bob, json!({})).await);
        let members = door.get(&path("members?membership=ban"), &alice).await.ok();
        assert_eq!(members["chunk"][0]["state_key"], "@bob:test");
        assert_eq!(members["chunk"][0]["content"], json!({ "membership": "ban", "reason": "r" }));
        let others = door.get(&path("members?not_membership=ban"), &alice).await.ok();
        assert_eq!(others["chunk"].as_array().unwrap().len(), 1);
        door.post(&path("unban"), &alice, bobs).await.ok();
        door.post(&path("join"), &bob, json!({})).await.ok();
        for body in [json!({}), json!({ "user_id": "bob" }), json!({ "user_id": 7 })] {
            let refused = door.post(&path("kick"), &alice, body).await;
            assert_eq!(refused.status, StatusCode::BAD_REQUEST);
        }
    }
}
