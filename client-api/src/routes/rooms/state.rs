//! GET /_matrix/client/v3/rooms/{roomId}/state
//! GET /_matrix/client/v3/rooms/{roomId}/state/{eventType}/{stateKey}
//! PUT /_matrix/client/v3/rooms/{roomId}/state/{eventType}/{stateKey}
//! GET /_matrix/client/v3/rooms/{roomId}/state/{eventType}
//! PUT /_matrix/client/v3/rooms/{roomId}/state/{eventType}
//! GET /_matrix/client/v3/rooms/{roomId}/state/{eventType}/
//! PUT /_matrix/client/v3/rooms/{roomId}/state/{eventType}/

use ruma::OwnedRoomId;
use serde::Deserialize;
use serde_json::json;
use starling_engine::{
    reading::{
        access::Asking,
        state::{self, Part},
    },
    rooms::{membership, send::SetState},
};

use super::delayed_event;
use crate::{
    answer::{Answer, json as answer_json},
    call::Call,
    limits::Doing,
    shadow,
};

pub(crate) async fn get_all(call: Call) -> Answer {
    let session = call.authenticated_or_guest().await?;
    let room_id: OwnedRoomId = call.path_id(0)?;
    let asking = Asking { user_id: &session.user_id, device_id: Some(&session.device_id) };
    answer_json(&state::all(&call.engine, asking, &room_id).await?)
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Format {
    #[default]
    Content,
    Event,
}

#[derive(Deserialize)]
struct Query {
    #[serde(default)]
    format: Format,
}

/// Without a last part of the path the state key is empty.
pub(crate) async fn get(call: Call) -> Answer {
    let session = call.authenticated_or_guest().await?;
    let room_id: OwnedRoomId = call.path_id(0)?;
    let query: Query = call.query_as()?;
    let part = match query.format {
        Format::Content => Part::Content,
        Format::Event => Part::Event,
    };
    let asking = Asking { user_id: &session.user_id, device_id: Some(&session.device_id) };
    let (kind, state_key) = (call.path_arg(1).into(), call.path_arg(2));
    answer_json(&state::one(&call.engine, asking, &room_id, kind, state_key, part).await?)
}

/// Without a last part of the path the state key is empty.
pub(crate) async fn put(mut call: Call) -> Answer {
    let session = call.authenticated_or_guest_to_act().await?;
    call.limit(Doing::Sending, &session)?;
    let ts = call.massaged_ts(&session)?;
    if let Some(delay_ms) = delayed_event::wanted(&call)? {
        return delayed_event::state(call, session, delay_ms).await;
    }
    let (room_id, content) = (call.path_id(0)?, call.content().await?);
    if session.is_shadow_banned() {
        let state = [call.path_arg(0), call.path_arg(1), call.path_arg(2), content.get()];
        return shadow::sent(&session, &state);
    }
    let state = SetState {
        room_id,
        sender: session.user_id,
        kind: call.path_arg(1).into(),
        state_key: call.path_arg(2).to_owned(),
        content,
        ts,
    };
    let event_id = membership::set_state(&call.engine, state).await?;
    answer_json(&json!({ "event_id": event_id }))
}

#[cfg(test)]
mod tests {
    use http::StatusCode;
    use serde_json::json;

    use crate::testing::TestDoor;

    #[tokio::test]
    async fn is_set_once_and_read_in_every_spelling() {
        let door = TestDoor::new().await;
        let alice = door.user("alice").await;
        let room = door.room(&alice, json!({})).await;
        let path = format!("/_matrix/client/v3/rooms/{room}/state");
        let topic = format!("{path}/m.room.topic");
        let first = door.put(&topic, &alice, json!({ "topic": "T" })).await.ok();
        let again = door.put(&format!("{topic}/"), &alice, json!({ "topic": "T" })).await.ok();
        assert_eq!(first, again);
        for path in [topic.clone(), format!("{topic}/")] {
            assert_eq!(door.get(&path, &alice).await.ok(), json!({ "topic": "T" }));
        }
        let event = door.get(&format!("{topic}?format=event"), &alice).await.ok();
        assert_eq!(event["event_id"], first["event_id"]);
        assert_eq!(event["room_id"], room.as_str());
        door.put(&format!("{path}/x.y/a%2Fb"), &alice, json!({ "k": 1 })).await.ok();
        let keyed = door.get(&format!("{path}/x.y/a%2Fb"), &alice).await.ok();
        assert_eq!(keyed, json!({ "k": 1 }));
        let all = door.get(&path, &alice).await.ok();
        assert_eq!(all.as_array().unwrap().len(), 8);
        door.get(&format!("{path}/x.none"), &alice)
            .await
            .refused(StatusCode::NOT_FOUND, "M_NOT_FOUND");
        let bob = door.user("bob").await;
        door.get(&path, &bob).await.refused(StatusCode::FORBIDDEN, "M_FORBIDDEN");
        let alias = format!("{path}/m.room.canonical_alias");
        let wrong = door.put(&alias, &alice, json!({ "alias": "#none:test" })).await;
        wrong.refused(StatusCode::BAD_REQUEST, "M_BAD_ALIAS");
        let create = door.put(&format!("{path}/m.room.create"), &alice, json!({})).await;
        create.refused(StatusCode::BAD_REQUEST, "M_BAD_JSON");
    }
}
