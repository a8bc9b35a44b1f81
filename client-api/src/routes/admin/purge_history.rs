//! POST /_synapse/admin/v1/purge_history/{roomId}
//! POST /_synapse/admin/v1/purge_history/{roomId}/{eventId}

use ruma::{OwnedEventId, OwnedRoomId};
use serde::Deserialize;
use serde_json::json;
use starling_engine::admin::history::{self, Until};

use crate::{
    answer::{Answer, json as answer_json},
    call::Call,
    error::Error,
};

#[derive(Deserialize)]
struct Body {
    #[serde(default)]
    delete_local_events: bool,
    purge_up_to_event_id: Option<OwnedEventId>,
    purge_up_to_ts: Option<i64>,
}

pub(crate) async fn post(mut call: Call) -> Answer {
    call.administrator().await?;
    let room_id: OwnedRoomId = call.path_id(0)?;
    let body: Body = call.body_as().await?;
    let named = match call.path_arg(1) {
        "" => body.purge_up_to_event_id,
        _ => Some(call.path_id(1)?),
    };
    let until = match (named, body.purge_up_to_ts) {
        (Some(event_id), _) => Until::Event(event_id),
        (None, Some(ts)) => Until::Time(ts),
        (None, None) => return Err(Error::bad_json("Neither an event nor a time is given")),
    };
    let id = history::schedule(&call.engine, &room_id, until, body.delete_local_events).await?;
    answer_json(&json!({ "purge_id": id }))
}
