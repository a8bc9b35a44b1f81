//! GET /_matrix/client/v3/thirdparty/user
//! GET /_matrix/client/v3/thirdparty/user/{protocol}

use ruma::OwnedUserId;
use serde::Deserialize;
use starling_engine::appservices::networks::{self, Kind};

use super::{find, found_or_nothing};
use crate::{answer::Answer, call::Call, error::Error, limits::Doing};

#[derive(Deserialize)]
struct Query {
    #[serde(rename = "userid")]
    user_id: String,
}

pub(crate) async fn get(call: Call) -> Answer {
    find(&call, Kind::User).await
}

pub(crate) async fn get_by_id(call: Call) -> Answer {
    let session = call.authenticated().await?;
    call.limit(Doing::Asking, &session)?;
    let Query { user_id } = call.query_as()?;
    let user_id = OwnedUserId::try_from(user_id)
        .map_err(|_| Error::invalid_param("`userid` is no user ID"))?;
    found_or_nothing(networks::users_of(&call.engine, &user_id).await)
}
