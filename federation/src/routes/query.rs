//! GET /_matrix/key/v2/query/{serverName}
//! POST /_matrix/key/v2/query

use std::collections::BTreeMap;

use axum::extract::State;
use ruma::{
    CanonicalJsonObject, OwnedServerName,
    api::federation::discovery::{get_remote_server_keys, get_remote_server_keys_batch},
};
use serde::Serialize;
use starling_engine::keys::notary::{self, MAX_SERVERS, Wanted};

use crate::{
    door::{Door, Json, Unsigned},
    error::{Error, Kind},
};

pub(crate) mod directory;
pub(crate) mod profile;

#[derive(Serialize)]
pub(crate) struct Found {
    server_keys: Vec<CanonicalJsonObject>,
}

pub(crate) async fn get(
    State(door): State<Door>,
    Unsigned(request): Unsigned<get_remote_server_keys::v2::Request>,
) -> Result<Json<Found>, Error> {
    // No key is named: the newest documents are wanted, whatever the time.
    answer(&door, BTreeMap::from([(request.server_name, Wanted::new())])).await
}

pub(crate) async fn post(
    State(door): State<Door>,
    Unsigned(request): Unsigned<get_remote_server_keys_batch::v2::Request>,
) -> Result<Json<Found>, Error> {
    if request.server_keys.len() > MAX_SERVERS {
        return Err(Error::new(Kind::TooLarge, "Too many servers at once"));
    }
    let now_ms = door.engine.clock.now_ms();
    let wanted = request.server_keys.into_iter().map(|(server, keys)| {
        let keys = keys.into_iter().map(|(key_id, criteria)| {
            let until = criteria.minimum_valid_until_ts.map_or(now_ms, |ts| ts.get().into());
            (key_id.to_string(), until)
        });
        (server, keys.collect())
    });
    answer(&door, wanted.collect()).await
}

async fn answer(
    door: &Door,
    wanted: BTreeMap<OwnedServerName, Wanted>,
) -> Result<Json<Found>, Error> {
    let server_keys = notary::documents(&door.engine, wanted).await.map_err(Error::internal)?;
    Ok(Json(Found { server_keys }))
}
