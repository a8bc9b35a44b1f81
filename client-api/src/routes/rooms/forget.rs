//! POST /_matrix/client/v3/rooms/{roomId}/forget

use ruma::OwnedRoomId;
use serde_json::json;
use starling_engine::rooms::membership::forget;

use crate::{
    answer::{Answer, json as answer_json},
    call::Call,
};

pub(crate) async fn post(mut call: Call) -> Answer {
    let session = call.authenticated().await?;
    let room_id: OwnedRoomId = call.path_id(0)?;
    call.json_body().await?;
    forget::forget(&call.engine, &session.user_id, &room_id).await?;
    answer_json(&json!({}))
}

#[cfg(test)]
mod tests {
    use http::StatusCode;
    use serde_json::json;

    use crate::testing::TestDoor;

    #[tokio::test]
    async fn only_what_was_left() {
        let door = TestDoor::new().await;
        let alice = door.user("alice").await;
        let room = door.room(&alice, json!({})).await;
        let path = |verb: &str| format!("/_matrix/client/v3/rooms/{room}/{verb}");
        let refused = door.post(&path("forget"), &alice, json!({})).await;
        refused.refused(StatusCode::BAD_REQUEST, "M_UNKNOWN");
        door.post(&path("leave"), &alice, json!({ "reason": "r" })).await.ok();
        door.get(&path("state"), &alice).await.ok();
        door.post(&path("forget"), &alice, json!({})).await.ok();
        let gone = door.get(&path("state"), &alice).await;
        gone.refused(StatusCode::FORBIDDEN, "M_FORBIDDEN");
    }
}
