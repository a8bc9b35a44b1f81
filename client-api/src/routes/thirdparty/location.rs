//! GET /_matrix/client/v3/thirdparty/location
//! GET /_matrix/client/v3/thirdparty/location/{protocol}

use ruma::OwnedRoomAliasId;
use serde::Deserialize;
use starling_engine::appservices::networks::{self, Kind};

use super::{find, found_or_nothing};
use crate::{answer::Answer, call::Call, error::Error, limits::Doing};

#[derive(Deserialize)]
struct Query {
    alias: String,
}

pub(crate) async fn get(call: Call) -> Answer {
    find(&call, Kind::Location).await
}

pub(crate) async fn get_by_alias(call: Call) -> Answer {
    let session = call.authenticated().await?;
    call.limit(Doing::Asking, &session)?;
    let Query { alias } = call.query_as()?;
    let alias = OwnedRoomAliasId::try_from(alias)
        .map_err(|_| Error::invalid_param("`alias` is no room alias"))?;
    found_or_nothing(networks::locations_of(&call.engine, &alias).await)
}
