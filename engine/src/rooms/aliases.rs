//! Aliases: names of rooms.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#room-aliases>

use std::time::Duration;

use ruma::{OwnedRoomAliasId, OwnedRoomId, OwnedServerName, RoomAliasId, RoomId, UserId};
use serde::Deserialize;
use starling_storage::{
    Claim,
    rooms::{self as rows, AliasRow},
};

use crate::{
    Engine,
    appservices::queries::{self, Verdict},
    ask,
    internal::Internal,
    remote::Limits,
};

/// How many servers of a room are named to who asks.
const MAX_SERVERS: usize = 50;

/// A room that an alias names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// The room.
    pub room_id: OwnedRoomId,
    /// Servers that are in it.
    pub servers: Vec<OwnedServerName>,
}

/// Why nobody knows whether an alias names a room.
#[derive(Debug, thiserror::Error)]
pub enum ResolveError {
    /// The application service that may make such a room does not answer.
    #[error("the application service of this alias does not answer")]
    NoAnswer,
    /// This server failed.
    #[error(transparent)]
    Internal(#[from] Internal),
}

/// Finds the room that an alias names, here or on its server. `None` when there is none.
///
/// # Errors
///
/// See [`ResolveError`]; another server that does not answer knows no alias.
pub async fn resolve(engine: &Engine, alias: &RoomAliasId) -> Result<Option<Named>, ResolveError> {
    if alias.server_name() == engine.config.server_name {
        return resolve_local(engine, alias).await;
    }
    Ok(ask_server(engine, alias).await)
}

/// The same, but no application service is asked to make a room.
///
/// # Errors
///
/// When this server fails.
pub(crate) async fn resolve_known(
    engine: &Engine,
    alias: &RoomAliasId,
) -> Result<Option<Named>, Internal> {
    if alias.server_name() == engine.config.server_name {
        return known(engine, alias).await;
    }
    Ok(ask_server(engine, alias).await)
}

/// Finds the room that an alias of this server names. An application service may make it now.
///
/// # Errors
///
/// See [`ResolveError`].
pub async fn resolve_local(
    engine: &Engine,
    alias: &RoomAliasId,
) -> Result<Option<Named>, ResolveError> {
    if let Some(named) = known(engine, alias).await? {
        return Ok(Some(named));
    }
    match queries::alias(engine, alias).await {
        Verdict::Made => Ok(known(engine, alias).await?),
        Verdict::Unknown => Ok(None),
        Verdict::NoAnswer => Err(ResolveError::NoAnswer),
    }
}

/// The room that an alias of this server names as it is.
///
/// # Errors
///
/// When the database fails.
pub(crate) async fn known(engine: &Engine, alias: &RoomAliasId) -> Result<Option<Named>, Internal> {
    let mut conn = engine.storage.read().await?;
    let Some(row) = rows::alias(&mut conn, alias.as_str()).await? else { return Ok(None) };
    let servers = rows::servers_in(&mut conn, &row.room_id).await?;
    let own = &engine.config.server_name;
    let mut servers: Vec<OwnedServerName> =
        servers.into_iter().filter_map(|server| server.try_into().ok()).collect();
    servers.retain(|server| server != own);
    servers.insert(0, own.clone());
    servers.truncate(MAX_SERVERS);
    Ok(Some(Named { room_id: row.room_id.try_into()?, servers }))
}

async fn ask_server(engine: &Engine, alias: &RoomAliasId) -> Option<Named> {
    #[derive(Deserialize)]
    struct Answer {
        room_id: OwnedRoomId,
        servers: Vec<String>,
    }
    let path = ask::query(ask::path("v1/query/directory", &[]), &[("room_alias", alias.as_str())]);
    let limits = Limits { timeout: Duration::from_secs(20), max_body: 256 * 1024 };
    let answer: Answer = ask::get(engine, alias.server_name(), path, limits).await.ok()?;
    let mut servers: Vec<OwnedServerName> =
        answer.servers.into_iter().filter_map(|server| server.try_into().ok()).collect();
    servers.truncate(MAX_SERVERS);
    if !servers.iter().any(|server| server == alias.server_name()) {
        servers.insert(0, alias.server_name().to_owned());
    }
    Some(Named { room_id: answer.room_id, servers })
}

/// The claim that gives a room an alias, as part of a larger change.
#[must_use]
pub(super) fn claim(
    engine: &Engine,
    user_id: &UserId,
    alias: &RoomAliasId,
    room_id: &RoomId,
) -> Claim {
    Claim::NewAlias(AliasRow {
        alias: alias.to_string(),
        room_id: room_id.to_string(),
        creator: user_id.to_string(),
        created_ts: engine.clock.now_ms(),
    })
}

/// The aliases of a room on this server.
///
/// # Errors
///
/// When the database fails.
pub async fn of_room(engine: &Engine, room_id: &RoomId) -> Result<Vec<OwnedRoomAliasId>, Internal> {
    let mut conn = engine.storage.read().await?;
    let rows = rows::aliases_of(&mut conn, room_id.as_str()).await?;
    Ok(rows.into_iter().filter_map(|row| row.alias.try_into().ok()).collect())
}
