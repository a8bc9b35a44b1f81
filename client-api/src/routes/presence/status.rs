//! GET /_matrix/client/v3/presence/{userId}/status
//! PUT /_matrix/client/v3/presence/{userId}/status

use ruma::OwnedUserId;
use serde::Deserialize;
use starling_engine::presence::{self, IDLE_MS, LONGEST_MESSAGE, Status};

use crate::{
    answer::{self, Answer},
    call::Call,
    error::Error,
    limits::Doing,
};

pub(crate) async fn get(call: Call) -> Answer {
    let session = call.authenticated().await?;
    let user: OwnedUserId = call.path_id(0)?;
    let presence = presence::get(&call.engine, &session.user_id, &user).await?;
    let now_ms = call.engine.clock.now_ms();
    let mut content = presence::content(&presence, now_ms);
    if presence.status == Status::Online {
        content["currently_active"] = (presence.active_ms + IDLE_MS > now_ms).into();
    }
    answer::json(&content)
}

pub(crate) async fn put(mut call: Call) -> Answer {
    #[derive(Deserialize)]
    struct Body {
        presence: String,
        status_msg: Option<String>,
    }
    let session = call.authenticated().await?;
    if call.path_arg(0) != session.user_id.as_str() {
        return Err(Error::forbidden("This is the presence of somebody else"));
    }
    call.limit(Doing::Account, &session)?;
    let body: Body = call.body_as().await?;
    let status = Status::of_name(&body.presence)
        .ok_or_else(|| Error::bad_json("`presence` is online, unavailable or offline"))?;
    let message = body.status_msg.filter(|message| !message.is_empty());
    if message.as_ref().is_some_and(|message| message.len() > LONGEST_MESSAGE) {
        return Err(Error::too_large("The status message is longer than 1024 bytes"));
    }
    let (user, device) = (&session.user_id, &session.device_id);
    presence::set(&call.engine, user, device, status, message).await?;
    answer::raw_json("{}")
}

#[cfg(test)]
mod tests {
    use http::StatusCode;
    use serde_json::json;

    use crate::testing::TestDoor;

    fn path(name: &str) -> String {
        format!("/_matrix/client/v3/presence/@{name}:test/status")
    }

    #[tokio::test]
    async fn those_who_share_a_room_see_each_other() {
        let door = TestDoor::new().await;
        let (alice, bob) = (door.user("alice").await, door.user("bob").await);
        let body = json!({ "presence": "unavailable", "status_msg": "asleep" });
        door.put(&path("alice"), &alice, body).await.ok();
        let own = door.get(&path("alice"), &alice).await.ok();
        assert_eq!(
            (&own["presence"], &own["status_msg"]),
            (&json!("unavailable"), &json!("asleep"))
        );
        let answer = door.get(&path("alice"), &bob).await;
        answer.refused(StatusCode::FORBIDDEN, "M_FORBIDDEN");
        let room = door.room(&alice, json!({ "preset": "public_chat" })).await;
        door.post(&format!("/_matrix/client/v3/join/{room}"), &bob, json!({})).await.ok();
        let seen = door.get(&path("alice"), &bob).await.ok();
        assert_eq!(seen["presence"], "unavailable");
        assert_eq!(door.get(&path("bob"), &alice).await.ok()["presence"], "offline");
    }

    #[tokio::test]
    async fn refusals() {
        let door = TestDoor::new().await;
        let alice = door.user("alice").await;
        let answer = door.put(&path("bob"), &alice, json!({ "presence": "online" })).await;
        answer.refused(StatusCode::FORBIDDEN, "M_FORBIDDEN");
        let answer = door.put(&path("alice"), &alice, json!({ "presence": "busy" })).await;
        answer.refused(StatusCode::BAD_REQUEST, "M_BAD_JSON");
        let long = json!({ "presence": "online", "status_msg": "x".repeat(1025) });
        let answer = door.put(&path("alice"), &alice, long).await;
        answer.refused(StatusCode::PAYLOAD_TOO_LARGE, "M_TOO_LARGE");
        let answer = door.get("/_matrix/client/v3/sync?set_presence=busy", &alice).await;
        answer.refused(StatusCode::BAD_REQUEST, "M_INVALID_PARAM");
    }
}
