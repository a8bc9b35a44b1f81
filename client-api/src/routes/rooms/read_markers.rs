//! POST /_matrix/client/v3/rooms/{roomId}/read_markers

use ruma::{OwnedEventId, OwnedRoomId};
use serde::Deserialize;
use serde_json::json;
use starling_engine::rooms::receipts::{self, Kind, Receipt};

use crate::{
    answer::{Answer, json as answer_json},
    call::Call,
    limits::Doing,
};

#[derive(Deserialize)]
struct Body {
    #[serde(rename = "m.fully_read")]
    fully_read: Option<OwnedEventId>,
    #[serde(rename = "m.read")]
    read: Option<OwnedEventId>,
    #[serde(rename = "m.read.private")]
    private: Option<OwnedEventId>,
}

pub(crate) async fn post(mut call: Call) -> Answer {
    let session = call.authenticated().await?;
    call.limit(Doing::Asking, &session)?;
    let room_id: OwnedRoomId = call.path_id(0)?;
    let body: Body = call.body_as().await?;
    let all = [
        (Kind::FullyRead, body.fully_read),
        (Kind::Read, body.read),
        (Kind::Private, body.private),
    ];
    let receipt = |(kind, event_id): (Kind, Option<OwnedEventId>)| {
        event_id.map(|event_id| Receipt { kind, event_id, thread_id: None })
    };
    let receipts: Vec<Receipt> = all.into_iter().filter_map(receipt).collect();
    receipts::send(&call.engine, &room_id, &session.user_id, &receipts).await?;
    answer_json(&json!({}))
}
