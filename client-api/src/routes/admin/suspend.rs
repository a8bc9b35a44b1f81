//! GET /_matrix/client/v1/admin/suspend/{userId}
//! PUT /_matrix/client/v1/admin/suspend/{userId}

use ruma::OwnedUserId;
use serde::{Deserialize, Serialize};
use starling_engine::accounts::moderation::{self, Restriction};

use crate::{
    answer::{self, Answer},
    call::Call,
    limits::Doing,
};

#[derive(Deserialize, Serialize)]
struct Status {
    suspended: bool,
}

pub(crate) async fn get(call: Call) -> Answer {
    let session = call.authenticated_admin().await?;
    let user: OwnedUserId = call.path_id(0)?;
    let suspended =
        moderation::is_restricted(&call.engine, &session, &user, Restriction::Suspended).await?;
    answer::json(&Status { suspended })
}

pub(crate) async fn put(mut call: Call) -> Answer {
    let session = call.authenticated_admin().await?;
    call.door.limits.user(Doing::Account, &session.user_id)?;
    let user: OwnedUserId = call.path_id(0)?;
    let status: Status = call.body_as().await?;
    let on = status.suspended;
    moderation::restrict(&call.engine, &session, &user, Restriction::Suspended, on).await?;
    answer::json(&status)
}
