//! GET /_matrix/client/v1/rooms/{roomId}/threads
//! GET /_matrix/client/unstable/org.matrix.msc3856/rooms/{roomId}/threads

use ruma::{OwnedRoomId, api::client::threads::get_threads::v1::IncludeThreads};
use serde::Deserialize;
use starling_engine::reading::{
    access::Asking,
    threads::{self, ThreadsRequest},
    token::PageToken,
};

use crate::{
    answer::{Answer, json},
    call::Call,
    error::Error,
    limits::Doing,
};

#[derive(Deserialize)]
struct Query {
    #[serde(default)]
    include: IncludeThreads,
    from: Option<String>,
    limit: Option<u64>,
}

pub(crate) async fn get(call: Call) -> Answer {
    let session = call.authenticated().await?;
    call.limit(Doing::Asking, &session)?;
    let room_id: OwnedRoomId = call.path_id(0)?;
    let query: Query = call.query_as()?;
    if query.limit == Some(0) {
        return Err(Error::invalid_param("`limit` must be greater than zero"));
    }
    let request = ThreadsRequest {
        participated: match query.include {
            IncludeThreads::All => false,
            IncludeThreads::Participated => true,
            _ => return Err(Error::invalid_param("`include` is unknown")),
        },
        from: query.from.as_deref().map(PageToken::parse).transpose()?,
        limit: query.limit,
    };
    let asking = Asking { user_id: &session.user_id, device_id: Some(&session.device_id) };
    json(&threads::page(&call.engine, asking, &room_id, request).await?)
}
