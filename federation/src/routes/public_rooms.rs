//! GET /_matrix/federation/v1/publicRooms
//! POST /_matrix/federation/v1/publicRooms

use axum::extract::State;
use ruma::api::federation::directory::get_public_rooms;
use serde::Deserialize;
use starling_engine::rooms::directory::{self, DirectoryError, Page, Search};

use crate::{
    door::{Door, Json, Signed, SignedBody},
    error::{Error, Kind},
};

/// `ruma` reads the room types of a filter as an enumeration; here they are what they are.
#[derive(Deserialize)]
pub(crate) struct Body {
    limit: Option<u64>,
    since: Option<String>,
    #[serde(default)]
    filter: Filter,
}

#[derive(Default, Deserialize)]
struct Filter {
    generic_search_term: Option<String>,
    room_types: Option<Vec<Option<String>>>,
}

pub(crate) async fn get(
    State(door): State<Door>,
    Signed { request, .. }: Signed<get_public_rooms::v1::Request>,
) -> Result<Json<Page>, Error> {
    let limit = request.limit.map(u64::from);
    page(&door, limit, Search { since: request.since, ..Search::default() }).await
}

pub(crate) async fn post(
    State(door): State<Door>,
    SignedBody { body: Body { limit, since, filter }, .. }: SignedBody<Body>,
) -> Result<Json<Page>, Error> {
    let Filter { generic_search_term: term, room_types } = filter;
    page(&door, limit, Search { term, room_types, since, limit: None }).await
}

async fn page(door: &Door, limit: Option<u64>, search: Search) -> Result<Json<Page>, Error> {
    if !door.options.allow_public_rooms {
        return Err(Error::new(Kind::Forbidden, "The directory of this server is not public"));
    }
    let limit = limit.map(|limit| usize::try_from(limit).unwrap_or(usize::MAX));
    let page = directory::page(&door.engine, &Search { limit, ..search }).await;
    page.map(Json).map_err(|error| match error {
        DirectoryError::BadToken => Error::new(Kind::InvalidParam, error.to_string()),
        DirectoryError::Internal(error) => Error::internal(error),
    })
}
