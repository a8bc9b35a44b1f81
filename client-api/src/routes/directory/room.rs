//! GET /_matrix/client/v3/directory/room/{roomAlias}
//! PUT /_matrix/client/v3/directory/room/{roomAlias}
//! DELETE /_matrix/client/v3/directory/room/{roomAlias}

use ruma::{OwnedRoomAliasId, OwnedRoomId};
use serde::Deserialize;
use serde_json::json;
use starling_engine::{
    accounts::Session,
    rooms::{
        aliases,
        naming::{self, By},
    },
};

use crate::{
    answer::{Answer, json as answer_json},
    call::Call,
    error::Error,
    limits::Doing,
};

pub(crate) async fn get(call: Call) -> Answer {
    call.door.limits.address(Doing::Asking, call.client_ip())?;
    let alias: OwnedRoomAliasId = call.path_id(0)?;
    let named = aliases::resolve(&call.engine, &alias).await?;
    let named = named.ok_or_else(|| Error::not_found("There is no such alias"))?;
    answer_json(&json!({ "room_id": named.room_id, "servers": named.servers }))
}

#[derive(Deserialize)]
struct Body {
    room_id: OwnedRoomId,
}

pub(crate) async fn put(mut call: Call) -> Answer {
    let session = call.authenticated_to_act().await?;
    call.limit(Doing::Creating, &session)?;
    let alias: OwnedRoomAliasId = call.path_id(0)?;
    let body: Body = call.body_as().await?;
    naming::make(&call.engine, by(&session), &alias, &body.room_id).await?;
    answer_json(&json!({}))
}

pub(crate) async fn delete(call: Call) -> Answer {
    let session = call.authenticated_to_act().await?;
    let alias: OwnedRoomAliasId = call.path_id(0)?;
    naming::remove(&call.engine, by(&session), &alias).await?;
    answer_json(&json!({}))
}

fn by(session: &Session) -> By<'_> {
    By {
        user_id: &session.user_id,
        is_admin: session.is_admin(),
        appservice: session.appservice.as_deref(),
    }
}

#[cfg(test)]
mod tests {
    use http::StatusCode;
    use serde_json::json;

    use crate::testing::TestDoor;

    #[tokio::test]
    async fn aliases_come_and_go() {
        let door = TestDoor::new().await;
        let (alice, bob) = (door.user("alice").await, door.user("bob").await);
        let room = door.room(&alice, json!({ "preset": "public_chat" })).await;
        let path = "/_matrix/client/v3/directory/room/%23hall:test";
        let body = json!({ "room_id": room });
        door.get_anonymous(path).await.refused(StatusCode::NOT_FOUND, "M_NOT_FOUND");
        let stranger = door.put(path, &bob, body.clone()).await;
        stranger.refused(StatusCode::FORBIDDEN, "M_FORBIDDEN");
        door.put(path, &alice, body.clone()).await.ok();
        door.put(path, &alice, body.clone()).await.refused(StatusCode::CONFLICT, "M_UNKNOWN");
        let elsewhere = "/_matrix/client/v3/directory/room/%23hall:other.test";
        let elsewhere = door.put(elsewhere, &alice, body).await;
        elsewhere.refused(StatusCode::BAD_REQUEST, "M_INVALID_PARAM");
        let found = door.get_anonymous(path).await.ok();
        assert_eq!(found, json!({ "room_id": room, "servers": ["test"] }));
        let canonical = format!("/_matrix/client/v3/rooms/{room}/state/m.room.canonical_alias");
        door.put(&canonical, &alice, json!({ "alias": "#hall:test" })).await.ok();
        let all = format!("/_matrix/client/v3/rooms/{room}/aliases");
        assert_eq!(door.get(&all, &alice).await.ok(), json!({ "aliases": ["#hall:test"] }));
        door.delete(path, &bob, json!({})).await.refused(StatusCode::FORBIDDEN, "M_FORBIDDEN");
        door.delete(path, &alice, json!({})).await.ok();
        door.delete(path, &alice, json!({})).await.refused(StatusCode::NOT_FOUND, "M_NOT_FOUND");
        assert_eq!(door.get(&canonical, &alice).await.ok(), json!({}));
    }
}
