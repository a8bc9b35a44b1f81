//! Leaving a room, refusing an invite, taking back a knock. Nobody can keep a user from that: when no
//! other server helps, this one notes it for itself.

use std::time::Duration;

use ruma::{OwnedServerName, OwnedUserId, RoomId, UserId};
use serde::de::IgnoredAny;
use starling_storage::{Change as Rows, Fact, memberships};
use tokio::time::timeout;

use super::{
    MembershipError,
    content::Member,
    local::{self, Change},
    remote::{self, Handshake, Wish},
};
use crate::{Engine, rooms::room};

/// How long other servers may take to take a refusal. Who refuses does not depend on them, so waits
/// no longer than a person does.
const PATIENCE: Duration = Duration::from_secs(5);

/// Leaves a room.
///
/// # Errors
///
/// [`MembershipError::Forbidden`] when the user is not in the room, nor invited, nor knocking;
/// [`MembershipError::UnknownRoom`] when there is no such room.
pub async fn leave(
    engine: &Engine,
    user_id: &UserId,
    room_id: &RoomId,
    reason: Option<String>,
) -> Result<(), MembershipError> {
    let row = local::membership(engine, user_id, room_id).await?;
    let row = row.ok_or(MembershipError::UnknownRoom)?;
    let member = Member { reason, ..Member::default() };
    let may_leave = matches!(row.membership.as_str(), "join" | "invite" | "knock");
    if local::is_resident(engine, room_id).await? || room::is_deserted(engine, room_id).await? {
        let change = Change {
            room_id,
            sender: user_id,
            target: user_id,
            membership: "leave",
            member: member.clone(),
        };
        match local::change(engine, change).await {
            Ok(_) => return Ok(()),
            // The room may not know of the invite that the user has.
            Err(MembershipError::Forbidden(_)) if may_leave && row.membership != "join" => {}
            Err(error) => return Err(error),
        }
    }
    if !may_leave {
        return Err(MembershipError::Forbidden("you are not in this room".to_owned()));
    }
    let sender = OwnedUserId::try_from(row.sender.as_str()).ok();
    let inviter = sender.map(|sender| sender.server_name().to_owned());
    let named = room_id.server_name().map(ToOwned::to_owned);
    let servers = remote::candidates(engine, inviter.into_iter().chain(named));
    let wish = Wish { engine, handshake: Handshake::Leave, room_id, user_id, member: &member };
    let helped = timeout(PATIENCE, leave_by_others(&wish, servers)).await;
    if !matches!(helped, Ok(true)) {
        tracing::info!(room.id = %room_id, user.id = %user_id,
            "No other server took a refusal; it is noted here only");
    }
    note_left(engine, user_id, room_id, row).await
}

async fn leave_by_others(wish: &Wish<'_>, servers: Vec<OwnedServerName>) -> bool {
    for server in servers {
        let sent = match wish.make(&server).await {
            Ok(made) => wish.send::<IgnoredAny>(&made).await,
            Err(error) => Err(error),
        };
        match sent {
            Ok(_) => return true,
            Err(error) => tracing::info!(server.name = %server, room.id = %wish.room_id, %error,
                "A server did not help to leave"),
        }
    }
    false
}

/// Notes that the user is outside, which their devices are told.
async fn note_left(
    engine: &Engine,
    user_id: &UserId,
    room_id: &RoomId,
    row: memberships::MembershipRow,
) -> Result<(), MembershipError> {
    let _place = room::place(engine, room_id).await;
    // What the user became meanwhile, by another request, is not undone.
    let now = local::membership(engine, user_id, room_id).await?;
    if now.is_none_or(|now| now.event_id != row.event_id || now.membership != row.membership) {
        return Ok(());
    }
    let mut rows = Rows::new();
    let (user_id, room_id) = (row.user_id.clone(), row.room_id.clone());
    let at = rows.fact(Fact::Membership { user_id: user_id.clone(), room_id });
    let row = memberships::MembershipRow { membership: "leave".to_owned(), sender: user_id, ..row };
    rows.write(memberships::Write::Put { row, at });
    engine.storage.commit(rows).await.map_err(crate::Internal::from)?;
    Ok(())
}
