//! GET /_matrix/federation/v1/query/directory

use axum::extract::State;
use ruma::api::federation::query::get_room_information::v1::{Request, Response};
use starling_engine::rooms::aliases::{self, ResolveError};

use crate::{
    door::{Answer, Door, Outcome, Signed},
    error::{Error, Kind},
};

pub(crate) async fn get(
    State(door): State<Door>,
    Signed { request, .. }: Signed<Request>,
) -> Outcome<Response> {
    let named = aliases::resolve_local(&door.engine, &request.room_alias).await;
    let named = match named {
        Ok(named) => named,
        // Whoever could make the room does not answer: as far as anybody knows, there is none.
        Err(ResolveError::NoAnswer) => None,
        Err(ResolveError::Internal(error)) => return Err(Error::failed(&error)),
    };
    match named {
        Some(named) => Ok(Answer(Response::new(named.room_id, named.servers))),
        None => Err(Error::new(Kind::NotFound, "There is no such room alias")),
    }
}
