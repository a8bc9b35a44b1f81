//! POST /_matrix/client/v3/rooms/{roomId}/join

use ruma::OwnedRoomId;
use serde_json::json;
use starling_engine::rooms::membership::join::{self, Join};

use crate::wish::Wish;
use crate::{
    answer::{Answer, json as answer_json},
    call::Call,
    limits::Doing,
};

pub(crate) async fn post(mut call: Call) -> Answer {
    let session = call.authenticated_or_guest_to_act().await?;
    call.limit(Doing::Joining, &session)?;
    let room_id: OwnedRoomId = call.path_id(0)?;
    let wish = Wish::of(&mut call).await?;
    wish.redeem(&call.engine, &session.user_id, &room_id).await?;
    let Wish { reason, more, .. } = wish;
    let via = Vec::new();
    let join = Join { user_id: &session.user_id, room_id: &room_id, via, reason, more };
    join::join(&call.engine, join).await?;
    answer_json(&json!({ "room_id": room_id }))
}

#[cfg(test)]
mod tests {
    use http::StatusCode;
    use serde_json::json;

    use crate::testing::TestDoor;

    #[tokio::test]
    async fn by_id_and_alias_with_content_of_ones_own() {
        let door = TestDoor::new().await;
        let (alice, bob) = (door.user("alice").await, door.user("bob").await);
        let body = json!({ "preset": "public_chat", "room_alias_name": "hall" });
        let room = door.room(&alice, body).await;
        let path = format!("/_matrix/client/v3/rooms/{room}/join");
        let joined = door.post(&path, &bob, json!({ "reason": "r", "foo": "bar" })).await.ok();
        assert_eq!(joined["room_id"], room.as_str());
        let member = format!("/_matrix/client/v3/rooms/{room}/state/m.room.member/@bob:test");
        let member = door.get(&member, &bob).await.ok();
        assert_eq!(member, json!({ "membership": "join", "reason": "r", "foo": "bar" }));
        let rooms = door.get("/_matrix/client/v3/joined_rooms", &bob).await.ok();
        assert_eq!(rooms, json!({ "joined_rooms": [room] }));

        let carol = door.user("carol").await;
        let by_alias = "/_matrix/client/v3/join/%23hall:test?via=test&via=other.test";
        assert_eq!(door.post(by_alias, &carol, json!({})).await.ok()["room_id"], room.as_str());
        let members = format!("/_matrix/client/v3/rooms/{room}/joined_members");
        let members = door.get(&members, &carol).await.ok();
        assert_eq!(members["joined"].as_object().unwrap().len(), 3);
        for (target, status) in [
            ("%23none:test", StatusCode::NOT_FOUND),
            ("hall", StatusCode::BAD_REQUEST),
            ("!unknown:test", StatusCode::NOT_FOUND),
        ] {
            let path = format!("/_matrix/client/v3/join/{target}");
            assert_eq!(door.post(&path, &carol, json!({})).await.status, status, "{target}");
        }
    }
}
