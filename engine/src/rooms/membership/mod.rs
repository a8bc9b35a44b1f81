//! Coming into rooms, going out of them, and letting others in and out.
//!
//! What another server has to agree to is asked of it while no room is held.

pub mod content;

pub mod local;

pub mod remote;

pub mod adopt;

pub mod join;

pub mod knock;

pub mod leave;

pub mod notice_rooms;

pub mod invite;

pub mod permission;

pub mod threepid;

pub mod remove;

pub mod forget;

use ruma::{OwnedEventId, OwnedRoomId, UserId, events::StateEventType};
use serde_json::{Map, Value, value::to_raw_value};
use starling_storage::memberships;

use self::{content::Member, invite::Invite};
use super::{
    policy::PolicyError,
    send::{self, SendError, SetState, Transaction},
};
use crate::{Engine, ask::AskError, internal::Internal};

/// Why a membership was not changed.
#[derive(Debug, thiserror::Error)]
pub enum MembershipError {
    /// There is no such room, as far as anybody who was asked knows.
    #[error("no such room is known")]
    UnknownRoom,
    /// The rules of the room do not allow it.
    #[error("{0}")]
    Forbidden(String),
    /// The event cannot be as it is wanted.
    #[error("{0}")]
    BadContent(String),
    /// The event would be too large.
    #[error("the event is too large")]
    TooLarge,
    /// Whether the user may join cannot be told here.
    #[error("whether you may join cannot be told by this server")]
    UnableToAuthorise,
    /// The room is of a version that this server does not support.
    #[error("the room's version is not supported: {0}")]
    IncompatibleVersion(String),
    /// The server of who is to be invited does not support the version of the room.
    #[error("the server of the invited user does not support the room's version")]
    UnsupportedThere,
    /// The user does not want invites.
    #[error("this user does not take invites")]
    InviteBlocked,
    /// The user is a guest, and the room lets no guests in, or this server cannot tell.
    #[error("guests are not let in here")]
    GuestsForbidden,
    /// The server's own invite is not to be refused.
    #[error("the server speaks to you in this room")]
    ServerNotices,
    /// The user is still in the room.
    #[error("you are still in the room")]
    StillInRoom,
    /// The other servers that would have to help did not.
    #[error("no other server could help: {0}")]
    RemoteFailed(String),
    /// The room's policy server has not signed the event.
    #[error(transparent)]
    Policy(PolicyError),
    /// This server failed.
    #[error(transparent)]
    Internal(#[from] Internal),
}

impl From<PolicyError> for MembershipError {
    fn from(error: PolicyError) -> Self {
        SendError::from(error).into()
    }
}

impl From<SendError> for MembershipError {
    fn from(error: SendError) -> Self {
        match error {
            SendError::NotInRoom => Self::UnknownRoom,
            SendError::Forbidden(reason) => Self::Forbidden(reason),
            SendError::TooLarge => Self::TooLarge,
            SendError::GuestsForbidden => Self::GuestsForbidden,
            SendError::Policy(error) => Self::Policy(error),
            SendError::Internal(error) => Self::Internal(error),
            SendError::BadContent(reason) | SendError::MalformedAlias(reason) => {
                Self::BadContent(reason)
            }
            error @ (SendError::NoSuchEvent
            | SendError::OwnOnly
            | SendError::BadAlias(_)
            | SendError::NoThreadRoot
            | SendError::DuplicateAnnotation
            | SendError::NameTaken) => Self::BadContent(error.to_string()),
        }
    }
}

impl From<super::build::BuildError> for MembershipError {
    fn from(error: super::build::BuildError) -> Self {
        SendError::from(error).into()
    }
}

impl From<starling_storage::DbError> for MembershipError {
    fn from(error: starling_storage::DbError) -> Self {
        Self::Internal(error.into())
    }
}

impl From<AskError> for MembershipError {
    fn from(error: AskError) -> Self {
        match error {
            AskError::Refused { errcode, .. } if errcode == "M_FORBIDDEN" => {
                Self::Forbidden("the room's server does not allow it".to_owned())
            }
            AskError::Refused { errcode, .. } if errcode == "M_INVITE_BLOCKED" => {
                Self::InviteBlocked
            }
            error => Self::RemoteFailed(error.to_string()),
        }
    }
}

/// Sets state. A membership is state too, but an invite has to be sent on its way.
///
/// # Errors
///
/// See [`SetStateError`].
pub async fn set_state(engine: &Engine, state: SetState) -> Result<OwnedEventId, SetStateError> {
    set_state_once(engine, state, None).await
}

/// As [`set_state`], under a transaction. An invite, which is no news a second time, needs none.
///
/// # Errors
///
/// See [`SetStateError`].
pub async fn set_state_once(
    engine: &Engine,
    state: SetState,
    transaction: Option<&Transaction>,
) -> Result<OwnedEventId, SetStateError> {
    if state.kind != StateEventType::RoomMember {
        return Ok(send::state_once(engine, state, transaction).await?);
    }
    let mut more: Map<String, Value> = serde_json::from_str(state.content.get())
        .map_err(|error| MembershipError::BadContent(error.to_string()))?;
    // Who lets whom into a restricted room is not for clients to say.
    let claimed = more.remove("join_authorised_via_users_server").is_some();
    let membership = more.get("membership").and_then(Value::as_str);
    if membership == Some("leave") && state.state_key == state.sender.as_str() {
        notice_rooms::check_may_leave(engine, &state.sender, &state.room_id).await?;
    }
    if membership != Some("invite") {
        let content = match claimed {
            true => to_raw_value(&more).map_err(|error| SendError::from(Internal::from(error)))?,
            false => state.content,
        };
        let state = SetState { content, ..state };
        return Ok(send::state_once(engine, state, transaction).await?);
    }
    let target = <&UserId>::try_from(state.state_key.as_str())
        .map_err(|_| MembershipError::BadContent("the state key is not a user ID".to_owned()))?;
    more.remove("membership");
    let member = Member { more, ..Member::default() };
    let invite = Invite { room_id: &state.room_id, sender: &state.sender, target, member };
    Ok(invite::invite(engine, invite).await?)
}

/// Why state was not set.
#[derive(Debug, thiserror::Error)]
pub enum SetStateError {
    /// As any event.
    #[error(transparent)]
    Send(#[from] SendError),
    /// As a membership.
    #[error(transparent)]
    Membership(#[from] MembershipError),
}

/// The rooms that a user is joined to.
///
/// # Errors
///
/// When the database fails.
pub async fn joined_rooms(engine: &Engine, user_id: &UserId) -> Result<Vec<OwnedRoomId>, Internal> {
    let mut conn = engine.storage.read().await?;
    let rooms = memberships::joined_rooms(&mut conn, user_id.as_str()).await?;
    Ok(rooms.into_iter().map(TryInto::try_into).collect::<Result<_, _>>()?)
}

#[cfg(test)]
mod tests;
