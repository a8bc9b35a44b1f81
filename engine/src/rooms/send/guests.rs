//! Guests of this server join only rooms that let guests in.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#guest-access>

use ruma::{UserId, events::TimelineEventType};
use serde::Deserialize;
use serde_json::value::RawValue;
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
    if !is_join(draft) || !is_guest(&batch.engine, &draft.sender).await? {
        return Ok(());
    }
    match guests::lets_in(batch).await? {
        true => Ok(()),
        false => Err(SendError::GuestsForbidden),
    }
}

fn is_join(draft: &Draft) -> bool {
    draft.kind == TimelineEventType::RoomMember && membership(&draft.content) == Some("join")
}

fn membership(content: &RawValue) -> Option<&str> {
    #[derive(Deserialize)]
    struct Content<'a> {
        membership: &'a str,
    }
    serde_json::from_str::<Content<'_>>(content.get()).ok().map(|content| content.membership)
}
