//! The rooms that application services list for the networks that they lead to, beside those of Matrix.
//!
//! <https://spec.matrix.org/v1.19/application-service-api/#published-room-directories>

use std::{cmp::Reverse, collections::BTreeMap};

use ruma::RoomId;
use starling_storage::{
    Change,
    appservices::{self, NetworkRoom, Write},
    rooms::{self as rows, RoomRow},
};

use crate::{
    Engine,
    appservices::{ApplicationService, networks::instance_id},
    internal::Internal,
};

/// Of which networks rooms are: Matrix itself, or those that application services lead to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Network {
    /// Matrix.
    #[default]
    Matrix,
    /// All.
    All,
    /// One of an application service, by its `instance_id`.
    Of(String),
}

impl Network {
    /// Reads `include_all_networks` and `third_party_instance_id`; `None` when they contradict each
    /// other.
    #[must_use]
    pub fn read(all: bool, instance_id: Option<String>) -> Option<Self> {
        match (all, instance_id.filter(|id| !id.is_empty())) {
            (true, Some(_)) => None,
            (true, None) => Some(Self::All),
            (false, Some(id)) => Some(Self::Of(id)),
            (false, None) => Some(Self::Matrix),
        }
    }
}

/// Why a room was not listed.
#[derive(Debug, thiserror::Error)]
pub enum ListError {
    /// There is no such room.
    #[error("there is no such room")]
    UnknownRoom,
    /// This server failed.
    #[error(transparent)]
    Internal(#[from] Internal),
}

/// Lists a room for a network of an application service, or not.
///
/// # Errors
///
/// [`ListError`]. A room that is there no more can be taken off the list.
pub async fn list(
    engine: &Engine,
    service: &ApplicationService,
    network_id: &str,
    room_id: &RoomId,
    listed: bool,
) -> Result<(), ListError> {
    let mut conn = engine.storage.read().await.map_err(Internal::from)?;
    let room = rows::get(&mut conn, room_id.as_str()).await.map_err(Internal::from)?;
    drop(conn);
    if listed && room.is_none() {
        return Err(ListError::UnknownRoom);
    }
    let mut change = Change::new();
    let (appservice_id, network_id) = (service.id.clone(), network_id.to_owned());
    let room = NetworkRoom { appservice_id, network_id, room_id: room_id.to_string() };
    change.write(Write::Listed { room, listed });
    engine.storage.commit(change).await.map_err(Internal::from)?;
    Ok(())
}

/// The rooms that are listed for networks, those with most members first.
///
/// # Errors
///
/// When the database fails.
pub(super) async fn published(
    engine: &Engine,
    network: &Network,
) -> Result<Vec<RoomRow>, Internal> {
    let mut conn = engine.storage.read().await?;
    if *network == Network::Matrix {
        return Ok(rows::published(&mut conn).await?);
    }
    let mut rooms = BTreeMap::new();
    if *network == Network::All {
        let published = rows::published(&mut conn).await?;
        rooms.extend(published.into_iter().map(|row| (row.room_id.clone(), row)));
    }
    for listed in appservices::network_rooms(&mut conn).await? {
        let id = instance_id(&listed.appservice_id, &listed.network_id);
        let is_wanted = match network {
            Network::Matrix => false,
            Network::All => true,
            Network::Of(wanted) => *wanted == id,
        };
        // An application service that is gone lists nothing.
        let is_there = engine.config.appservices.iter().any(|it| it.id == listed.appservice_id);
        if is_wanted && is_there && !rooms.contains_key(&listed.room_id) {
            let row = rows::get(&mut conn, &listed.room_id).await?;
            rooms.extend(row.map(|row| (listed.room_id, row)));
        }
    }
    let mut rooms: Vec<RoomRow> = rooms.into_values().collect();
    rooms.sort_by_key(|row| Reverse(row.joined_members));
    Ok(rooms)
}
