//! Guests of this server join only rooms that let guests in.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#guest-access>

use ruma::UserId;
use starling_storage::accounts::{self, flags};

use super::SendError;
use crate::{
    Engine,
    internal::Internal,
    rooms::{append::guests, batch::Batch, build::Draft},
};

/// Whether a user is a guest of this server.
///
/// # Errors
///
/// When the database fails.
pub async fn is_guest(engine: &Engine, user: &UserId) -> Result<bool, Internal> {
    let mut conn = engine.storage.read().await?;
    let account = accounts::user(&mut conn, user.as_str()).await?;
    Ok(account.is_some_and(|account| account.flags & flags::GUEST != 0))
}

/// Checks a draft that is about to become an event; the room is locked.
pub(super) async fn check(batch: &Batch, draft: &Draft) -> Result<(), SendError> {
    if !draft.is_join() || !is_guest(&batch.engine, &draft.sender).await? {
        return Ok(());
    }
    match guests::lets_in(batch).await? {
        true => Ok(()),
        false => Err(SendError::GuestsForbidden),
    }
}
