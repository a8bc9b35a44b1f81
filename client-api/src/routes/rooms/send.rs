//! PUT /_matrix/client/v3/rooms/{roomId}/send/{eventType}/{txnId}

use ruma::events::TimelineEventType;
use serde_json::json;
use starling_engine::rooms::send::{self, Message, Transaction};

use super::delayed_event;
use crate::{
    answer::{Answer, held, json as answer_json},
    call::Call,
    limits::Doing,
    shadow,
};

pub(crate) async fn put(mut call: Call) -> Answer {
    let session = call.authenticated_or_guest_to_act().await?;
    call.limit(Doing::Sending, &session)?;
    let ts = call.massaged_ts(&session)?;
    if let Some(delay_ms) = delayed_event::wanted(&call)? {
        return delayed_event::message(call, session, delay_ms).await;
    }
    let kind = TimelineEventType::from(call.path_arg(1));
    let room_id = call.path_id(0)?;
    if session.is_shadow_banned() {
        call.content().await?;
        return shadow::sent(&session, &[call.path_arg(0), call.path_arg(1), call.path_arg(2)]);
    }
    let transaction = Transaction {
        device_id: session.device_id,
        path: format!("send/{}/{}", call.path_arg(0), call.path_arg(1)),
        txn_id: call.path_arg(2).to_owned(),
    };
    let unanswered = call.engine.answering.begin(&session.user_id, &transaction);
    let message = Message {
        room_id,
        sender: session.user_id,
        kind,
        content: call.content().await?,
        ts,
        transaction: Some(transaction),
    };
    let event_id = send::message(&call.engine, message).await?;
    held(unanswered, answer_json(&json!({ "event_id": event_id })))
}

#[cfg(test)]
mod tests {
    use http::StatusCode;
    use serde_json::json;

    use crate::testing::TestDoor;

    #[tokio::test]
    async fn a_transaction_id_counts_per_device_and_path() {
        let door = TestDoor::new().await;
        let alice = door.user("alice").await;
        let room = door.room(&alice, json!({})).await;
        let path = |kind: &str| format!("/_matrix/client/v3/rooms/{room}/send/{kind}/1");
        let body = json!({ "body": "hi" });
        let first = door.put(&path("m.room.message"), &alice, body.clone()).await.ok();
        let again = door.put(&path("m.room.message"), &alice, body.clone()).await.ok();
        assert_eq!(first, again);
        let other = door.put(&path("x.other"), &alice, body.clone()).await.ok();
        assert_ne!(first, other);
        let bob = door.user("bob").await;
        let refused = door.put(&path("m.room.message"), &bob, body).await;
        refused.refused(StatusCode::FORBIDDEN, "M_FORBIDDEN");
        let float = door.put(&path("x.float"), &alice, json!({ "f": 1.5 })).await;
        float.refused(StatusCode::BAD_REQUEST, "M_BAD_JSON");
        let huge = door.put(&path("x.huge"), &alice, json!({ "f": "x".repeat(70_000) })).await;
        huge.refused(StatusCode::PAYLOAD_TOO_LARGE, "M_TOO_LARGE");
    }
}
