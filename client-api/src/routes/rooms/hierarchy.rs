//! GET /_matrix/client/v1/rooms/{roomId}/hierarchy
//! GET /_matrix/client/unstable/org.matrix.msc2946/rooms/{roomId}/hierarchy

use ruma::OwnedRoomId;
use serde::Deserialize;
use starling_engine::spaces::hierarchy::{self, Wanted};

use crate::{
    answer::{Answer, json},
    call::Call,
    error::Error,
    limits::Doing,
};

#[derive(Deserialize)]
struct Query {
    #[serde(default)]
    suggested_only: bool,
    limit: Option<u64>,
    max_depth: Option<u64>,
    from: Option<String>,
}

pub(crate) async fn get(call: Call) -> Answer {
    let session = call.authenticated().await?;
    call.limit(Doing::Asking, &session)?;
    let room_id: OwnedRoomId = call.path_id(0)?;
    let Query { suggested_only, limit, max_depth, from } = call.query_as()?;
    if limit == Some(0) {
        return Err(Error::invalid_param("`limit` must be greater than zero"));
    }
    let wanted = Wanted { suggested_only, max_depth, limit, from };
    json(&hierarchy::page(&call.engine, &session.user_id, &room_id, &wanted).await?)
}
