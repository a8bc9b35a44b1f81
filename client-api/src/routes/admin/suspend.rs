//! GET /_matrix/client/v1/admin/suspend/{userId}
//! PUT /_matrix/client/v1/admin/suspend/{userId}
//! PUT /_synapse/admin/v1/suspend/{userId}

use ruma::OwnedUserId;
use serde::{Deserialize, Serialize};
use serde_json::json;
use starling_engine::{
    accounts::moderation::{self, Restriction},
    admin::users::{self, Right},
};

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
    let session = call.administrator().await?;
    let user: OwnedUserId = call.path_id(0)?;
    let suspended =
        moderation::is_restricted(&call.engine, &session, &user, Restriction::Suspended).await?;
    answer::json(&Status { suspended })
}

pub(crate) async fn put(mut call: Call) -> Answer {
    let session = call.administrator().await?;
    call.limit(Doing::Account, &session)?;
    let user: OwnedUserId = call.path_id(0)?;
    let status: Status = call.body_as().await?;
    let on = status.suspended;
    moderation::restrict(&call.engine, &session, &user, Restriction::Suspended, on).await?;
    answer::json(&status)
}

#[derive(Deserialize)]
struct Wanted {
    suspend: bool,
}

pub(crate) async fn put_by_tool(mut call: Call) -> Answer {
    let session = call.administrator().await?;
    let user: OwnedUserId = call.path_id(0)?;
    let Wanted { suspend } = call.body_as().await?;
    let by = Some(&*session.user_id);
    users::set(&call.engine, by, &user, Right::Suspended, suspend).await?;
    let key = format!("user_{user}_suspended");
    answer::json(&json!({ key: suspend }))
}
