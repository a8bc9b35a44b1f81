//! GET /_matrix/client/v1/rooms/{roomId}/relations/{eventId}
//! GET /_matrix/client/v1/rooms/{roomId}/relations/{eventId}/{relType}
//! GET /_matrix/client/v1/rooms/{roomId}/relations/{eventId}/{relType}/{eventType}
//! GET /_matrix/client/unstable/rooms/{roomId}/relations/{eventId}/{relType}

use ruma::{OwnedEventId, OwnedRoomId, api::Direction};
use serde::Deserialize;
use starling_engine::reading::{
    access::Asking,
    relations::{self, RelationsRequest},
    token::PageToken,
};

use crate::{
    answer::{Answer, json},
    call::Call,
};

#[derive(Deserialize)]
struct Query {
    dir: Option<Direction>,
    from: Option<String>,
    to: Option<String>,
    limit: Option<u64>,
    recurse: Option<bool>,
}

pub(crate) async fn get(call: Call) -> Answer {
    let session = call.authenticated().await?;
    let room_id: OwnedRoomId = call.path_id(0)?;
    let event_id: OwnedEventId = call.path_id(1)?;
    let query: Query = call.query_as()?;
    let request = RelationsRequest {
        event_id: &event_id,
        rel_type: given(call.path_arg(2)),
        kind: given(call.path_arg(3)),
        recurse: query.recurse,
        direction: query.dir.unwrap_or(Direction::Backward),
        from: query.from.as_deref().map(PageToken::parse).transpose()?,
        to: query.to.as_deref().map(PageToken::parse).transpose()?,
        limit: query.limit,
    };
    let asking = Asking { user_id: &session.user_id, device_id: Some(&session.device_id) };
    json(&relations::page(&call.engine, asking, &room_id, request).await?)
}

/// A part of the path that the address may lack.
fn given(argument: &str) -> Option<&str> {
    Some(argument).filter(|argument| !argument.is_empty())
}
