//! GET /_matrix/federation/v1/publicRooms
//! POST /_matrix/federation/v1/publicRooms

use axum::extract::State;
use ruma::{api::federation::directory::get_public_rooms, directory::RoomNetwork};
use serde::Deserialize;
use starling_engine::rooms::directory::{self, DirectoryError, Network, Page, Search};

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
    #[serde(default)]
    include_all_networks: bool,
    third_party_instance_id: Option<String>,
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
    let network = match request.room_network {
        RoomNetwork::All => Network::All,
        RoomNetwork::ThirdParty(id) => Network::Of(id),
        _ => Network::Matrix,
    };
    page(&door, limit, Search { since: request.since, network, ..Search::default() }).await
}

pub(crate) async fn post(
    State(door): State<Door>,
    SignedBody { body, .. }: SignedBody<Body>,
) -> Result<Json<Page>, Error> {
    let Body { limit, since, filter, include_all_networks, third_party_instance_id } = body;
    let Filter { generic_search_term: term, room_types } = filter;
    let network = Network::read(include_all_networks, third_party_instance_id);
    let contradiction = || Error::new(Kind::InvalidParam, "Networks are wanted that contradict");
    let network = network.ok_or_else(contradiction)?;
    page(&door, limit, Search { term, room_types, since, network, ..Search::default() }).await
}

async fn page(door: &Door, limit: Option<u64>, search: Search) -> Result<Json<Page>, Error> {
    if !door.options.allow_public_rooms {
        return Err(Error::new(Kind::Forbidden, "The directory of this server is not public"));
    }
    let limit = limit.map(|limit| usize::try_from(limit).unwrap_or(usize::MAX));
    let page = directory::page(&door.engine, &Search { limit, for_others: true, ..search }).await;
    page.map(Json).map_err(|error| match error {
        DirectoryError::BadToken => Error::new(Kind::InvalidParam, error.to_string()),
        DirectoryError::Internal(error) => Error::failed(&error),
    })
}
