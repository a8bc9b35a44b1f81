//! GET /_matrix/client/v1/admin/lock/{userId}
//! PUT /_matrix/client/v1/admin/lock/{userId}

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
    locked: bool,
}

pub(crate) async fn get(call: Call) -> Answer {
    let session = call.administrator().await?;
    let user: OwnedUserId = call.path_id(0)?;
    let locked =
        moderation::is_restricted(&call.engine, &session, &user, Restriction::Locked).await?;
    answer::json(&Status { locked })
}

pub(crate) async fn put(mut call: Call) -> Answer {
    let session = call.administrator().await?;
    call.limit(Doing::Account, &session)?;
    let user: OwnedUserId = call.path_id(0)?;
    let status: Status = call.body_as().await?;
    let on = status.locked;
    moderation::restrict(&call.engine, &session, &user, Restriction::Locked, on).await?;
    answer::json(&status)
}
