//! GET /_matrix/client/v3/rooms/{roomId}/messages

use ruma::{OwnedRoomId, api::Direction};
use serde::Deserialize;
use starling_engine::reading::{
    access::Asking,
    filter::EventFilter,
    messages::{self, PageRequest},
    token::PageToken,
};

use crate::{
    answer::{Answer, json},
    call::Call,
    error::Error,
};

#[derive(Deserialize)]
struct Query {
    /// Old clients leave it out.
    #[serde(default = "forward")]
    dir: Direction,
    from: Option<String>,
    to: Option<String>,
    limit: Option<u64>,
    filter: Option<String>,
}

pub(crate) async fn get(call: Call) -> Answer {
    let session = call.authenticated_or_guest().await?;
    let room_id: OwnedRoomId = call.path_id(0)?;
    let request = request(&call)?;
    let asking = Asking { user_id: &session.user_id, device_id: Some(&session.device_id) };
    json(&messages::page(&call.engine, asking, &room_id, request).await?)
}

/// Which page the query wants.
pub(crate) fn request(call: &Call) -> Result<PageRequest, Error> {
    let query: Query = call.query_as()?;
    Ok(PageRequest {
        direction: query.dir,
        from: query.from.as_deref().map(PageToken::parse).transpose()?,
        to: query.to.as_deref().map(PageToken::parse).transpose()?,
        limit: query.limit,
        filter: filter(query.filter.as_deref())?,
    })
}

fn forward() -> Direction {
    Direction::Forward
}

/// A `RoomEventFilter` in the query.
pub(crate) fn filter(json: Option<&str>) -> Result<EventFilter, Error> {
    let filter = json.map(EventFilter::parse).transpose();
    let filter = filter.map_err(|error| Error::invalid_param(error.to_string()))?;
    Ok(filter.unwrap_or_default())
}
