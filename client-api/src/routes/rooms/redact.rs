//! PUT /_matrix/client/v3/rooms/{roomId}/redact/{eventId}/{txnId}

use std::collections::BTreeMap;

use serde_json::{
    json,
    value::{RawValue, to_raw_value},
};
use starling_engine::rooms::send::{self, Redaction, Transaction};

use crate::{
    answer::{Answer, held, json as answer_json},
    call::Call,
    error::Error,
    limits::Doing,
    shadow,
};

/// In which ways events are to relate to the redacted one that are redacted with it.
///
/// <https://github.com/matrix-org/matrix-spec-proposals/pull/3912>
const WITH_RELATIONS: &str = "org.matrix.msc3912.with_relations";

/// How many ways may be named.
const MOST_REL_TYPES: usize = 50;

pub(crate) async fn put(mut call: Call) -> Answer {
    let session = call.authenticated().await?;
    call.limit(Doing::Sending, &session)?;
    let (room_id, target) = (call.path_id(0)?, call.path_id(1)?);
    if session.is_shadow_banned() {
        call.content().await?;
        return shadow::sent(&session, &[call.path_arg(0), call.path_arg(1), call.path_arg(2)]);
    }
    let mut content: BTreeMap<String, Box<RawValue>> = call.body_as().await?;
    let rel_types: Vec<String> = match content.remove(WITH_RELATIONS) {
        Some(rel_types) => serde_json::from_str(rel_types.get())?,
        None => vec![],
    };
    if rel_types.len() > MOST_REL_TYPES {
        return Err(Error::invalid_param("too many kinds of relations are named"));
    }
    let transaction = Transaction {
        device_id: session.device_id.clone(),
        path: format!("redact/{}/{}", call.path_arg(0), call.path_arg(1)),
        txn_id: call.path_arg(2).to_owned(),
    };
    let unanswered = call.engine.answering.begin(&session.user_id, &transaction);
    let redaction = Redaction {
        room_id,
        own_only: session.is_suspended(),
        sender: session.user_id,
        target,
        content: to_raw_value(&content).map_err(Error::internal)?,
        ts: None,
        transaction: Some(transaction),
    };
    let event_id = match rel_types.is_empty() {
        true => send::redact(&call.engine, redaction).await?,
        false => send::redact_with_related(&call.engine, redaction, &rel_types).await?,
    };
    held(unanswered, answer_json(&json!({ "event_id": event_id })))
}

#[cfg(test)]
mod tests {
    use http::StatusCode;
    use serde_json::json;

    use crate::testing::TestDoor;

    #[tokio::test]
    async fn redacts_ones_own_and_with_power_others() {
        let door = TestDoor::new().await;
        let (alice, bob) = (door.user("alice").await, door.user("bob").await);
        let room = door.room(&alice, json!({ "preset": "public_chat" })).await;
        let rooms = format!("/_matrix/client/v3/rooms/{room}");
        door.post(&format!("{rooms}/join"), &bob, json!({})).await.ok();
        let send = format!("{rooms}/send/m.room.message/1");
        let by_alice = door.put(&send, &alice, json!({ "body": "a" })).await.ok();
        let by_bob = door.put(&send, &bob, json!({ "body": "b" })).await.ok();
        let path = |event: &serde_json::Value, txn: u8| {
            format!("{rooms}/redact/{}/{txn}", event["event_id"].as_str().unwrap())
        };
        let refused = door.put(&path(&by_alice, 1), &bob, json!({})).await;
        refused.refused(StatusCode::FORBIDDEN, "M_FORBIDDEN");
        let first = door.put(&path(&by_bob, 1), &alice, json!({ "reason": "r" })).await.ok();
        let again = door.put(&path(&by_bob, 1), &alice, json!({ "reason": "r" })).await.ok();
        assert_eq!(first, again);
        let shown = format!("{rooms}/event/{}", by_bob["event_id"].as_str().unwrap());
        let shown = door.get(&shown, &alice).await.ok();
        assert_eq!(shown["content"], json!({}));
        assert_eq!(shown["unsigned"]["redacted_because"]["content"]["reason"], "r");
    }
}
