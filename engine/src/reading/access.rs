//! Whether somebody may read a room at all.

use std::{collections::HashSet, time::Duration};

use ruma::{DeviceId, OwnedUserId, RoomId, UserId, events::StateEventType};
use starling_storage::{Conn, account_data, memberships, rooms};

use super::reader::Reader;
use crate::{
    Engine, Internal,
    push::rules,
    rooms::{partial, visibility},
};

/// How long a client waits at most for the members of a room that was joined without them.
const PATIENCE: Duration = Duration::from_secs(120);

/// Why nothing can be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The user is not in the room and never was, or has forgotten it; or there is no such room.
    #[error("the user may not read the room")]
    Forbidden,
    /// Not all of the room is known yet.
    #[error("the members of the room are not known yet")]
    Incomplete,
    /// There is no such event, or not for this user.
    #[error("there is no such event for this user")]
    NoSuchEvent,
    /// The server failed.
    #[error(transparent)]
    Internal(#[from] Internal),
}

impl From<starling_storage::DbError> for ReadError {
    fn from(error: starling_storage::DbError) -> Self {
        Self::Internal(error.into())
    }
}

/// Somebody who asks to read a room.
#[derive(Clone, Copy, Debug)]
pub struct Asking<'a> {
    /// The user.
    pub user_id: &'a UserId,
    /// Their device.
    pub device_id: Option<&'a DeviceId>,
}

impl Asking<'_> {
    /// The reader of one room, whatever they may see there.
    ///
    /// # Errors
    ///
    /// [`ReadError::Forbidden`] when the room is not known, or the user has forgotten it.
    pub async fn reader(self, engine: &Engine, room_id: &RoomId) -> Result<Reader, ReadError> {
        let mut conn = engine.storage.read().await?;
        let row = memberships::get(&mut conn, self.user_id.as_str(), room_id.as_str()).await?;
        drop(conn);
        if row.as_ref().is_some_and(|row| row.forgotten) {
            return Err(ReadError::Forbidden);
        }
        let Self { user_id, device_id } = self;
        let reader = Reader::new(engine, room_id, user_id, device_id, row.as_ref()).await?;
        reader.ok_or(ReadError::Forbidden)
    }

    /// The reader of one room in which the user is or was, or which is open to the world.
    ///
    /// # Errors
    ///
    /// [`ReadError::Forbidden`].
    pub async fn member(self, engine: &Engine, room_id: &RoomId) -> Result<Reader, ReadError> {
        let reader = self.reader(engine, room_id).await?;
        if reader.joined_until().is_some() || reader.is_world_readable().await? {
            return Ok(reader);
        }
        Err(ReadError::Forbidden)
    }

    /// The reader of one room who sees everything: for administrators only.
    ///
    /// # Errors
    ///
    /// [`ReadError::Forbidden`] when the room is not known.
    pub async fn overseer(self, engine: &Engine, room_id: &RoomId) -> Result<Reader, ReadError> {
        let Self { user_id, device_id } = self;
        let reader = Reader::new(engine, room_id, user_id, device_id, None).await?;
        Ok(reader.ok_or(ReadError::Forbidden)?.overseeing())
    }
}

impl Reader {
    async fn is_world_readable(&self) -> Result<bool, Internal> {
        let mut conn = self.engine.storage.read().await?;
        let room = rooms::get(&mut conn, self.room_id.as_str()).await?;
        drop(conn);
        let Some(room) = room else { return Ok(false) };
        let kind = StateEventType::RoomHistoryVisibility;
        let event = self.state_event(room.current_state, kind, "").await?;
        let visibility = visibility::visibility_of(event.as_ref().map(|event| &*event.pdu));
        Ok(visibility == ruma::events::room::history_visibility::HistoryVisibility::WorldReadable)
    }
}

/// Waits for the members of a room that was joined without them.
///
/// # Errors
///
/// [`ReadError::Incomplete`] when they do not come in time.
pub(super) async fn wait_for_members(engine: &Engine, room_id: &RoomId) -> Result<(), ReadError> {
    match partial::wait(engine, room_id, PATIENCE).await? {
        true => Ok(()),
        false => Err(ReadError::Incomplete),
    }
}

/// The users whose messages and invites somebody does not want to see.
///
/// <https://spec.matrix.org/v1.19/client-server-api/#ignoring-users>
///
/// # Errors
///
/// When the database fails.
pub async fn ignored_users(
    conn: &mut Conn,
    user_id: &UserId,
) -> Result<HashSet<OwnedUserId>, Internal> {
    let content = account_data::get(conn, user_id.as_str(), "", "m.ignored_user_list").await?;
    let mut ignored = content.map(|content| rules::ignored_in(&content)).unwrap_or_default();
    ignored.remove(user_id);
    Ok(ignored)
}
