//! GET /_matrix/client/v1/room_summary/{roomIdOrAlias}

use ruma::RoomAliasId;
use starling_engine::spaces::overview;

use crate::{
    answer::{Answer, json},
    call::Call,
    error::Error,
    limits::Doing,
    wish::Named,
};

/// Whoever is logged in is told of rooms on other servers too; anybody else only of those here.
pub(crate) async fn get(call: Call) -> Answer {
    let overview = match call.has_token() {
        true => {
            let session = call.authenticated_or_guest().await?;
            call.limit(Doing::Asking, &session)?;
            let Named { room_id, via } = Named::of(&call).await?;
            overview::for_user(&call.engine, &session.user_id, &room_id, via).await?
        }
        false => {
            call.door.limits.address(Doing::Asking, call.client_ip())?;
            let own = &call.engine.config.server_name;
            let alias = <&RoomAliasId>::try_from(call.path_arg(0)).ok();
            if alias.is_some_and(|alias| alias.server_name() != own) {
                return Err(not_found());
            }
            overview::for_anybody(&call.engine, &Named::of(&call).await?.room_id).await?
        }
    };
    json(&overview.ok_or_else(not_found)?)
}

fn not_found() -> Error {
    Error::not_found("There is no such room, or you may not know of it")
}
