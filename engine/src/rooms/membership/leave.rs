//! Leaving a room, refusing an invite, taking back a knock. Nobody can keep a user from that: when no
//! other server helps, this one notes it for itself.

use std::{sync::Arc, time::Duration};

use ruma::{OwnedServerName, OwnedUserId, RoomId, ServerName, UserId};
use serde::de::IgnoredAny;
use starling_storage::{
    Change as Rows, Fact, events,
    memberships::{self, MembershipRow},
};
use tokio::time::timeout;

use super::{
    MembershipError,
    content::Member,
    local::{self, Change},
    remote::{self, Handshake, Made, Wish},
};
use crate::{
    Engine,
    events::Pdu,
    reading::reader::Reader,
    rooms::{build, room, send::SendError, serve::invite::outlier},
};

/// How long other servers may take to take a refusal. Who refuses does not depend on them, so waits
/// no longer than a person does.
const PATIENCE: Duration = Duration::from_secs(5);

/// Leaves a room. Who has left already stays outside.
///
/// # Errors
///
/// [`MembershipError::Forbidden`] when the user was sent out of the room, or is banned;
/// [`MembershipError::UnknownRoom`] when there is no such room.
pub async fn leave(
    engine: &Engine,
    user_id: &UserId,
    room_id: &RoomId,
    reason: Option<String>,
) -> Result<(), MembershipError> {
    let row = local::membership(engine, user_id, room_id).await?;
    let row = row.ok_or(MembershipError::UnknownRoom)?;
    if row.membership == "leave" && row.sender == user_id.as_str() {
        // The answer may have got lost, and the client asks again.
        return Ok(());
    }
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
    let left = match helped.ok().flatten() {
        Some(made) => Some(made.pdu),
        None => {
            tracing::info!(room.id = %room_id, user.id = %user_id,
                "No other server took a refusal; it is noted here only");
            noted_alone(&wish, &row).await
        }
    };
    note_left(&wish, left.as_deref(), row).await
}

/// The event by which the user left, if a server took one.
async fn leave_by_others(wish: &Wish<'_>, servers: Vec<OwnedServerName>) -> Option<Made> {
    for server in servers {
        match leave_by(wish, &server).await {
            Ok(made) => return Some(made),
            Err(error) => tracing::info!(server.name = %server, room.id = %wish.room_id, %error,
                "A server did not help to leave"),
        }
    }
    None
}

async fn leave_by(wish: &Wish<'_>, server: &ServerName) -> Result<Made, MembershipError> {
    let made = wish.make(server).await?;
    wish.send::<IgnoredAny>(&made).await?;
    Ok(made)
}

/// What [`leave_alone`] gives; without an event, too, the user leaves.
async fn noted_alone(wish: &Wish<'_>, row: &MembershipRow) -> Option<Arc<Pdu>> {
    let left = leave_alone(wish, row).await.unwrap_or_else(|error| {
        tracing::info!(room.id = %wish.room_id, user.id = %wish.user_id, %error,
            "No event could be made of a refusal");
        None
    });
    left.map(Arc::new)
}

/// An event for the user's own devices, after the one that made them what they are. `None` when that
/// one cannot be read.
async fn leave_alone(wish: &Wish<'_>, row: &MembershipRow) -> Result<Option<Pdu>, MembershipError> {
    let Wish { engine, room_id, user_id, member, .. } = *wish;
    let reader = Reader::new(engine, room_id, user_id, None, Some(row)).await?;
    let Some(reader) = reader else { return Ok(None) };
    let Some(last) = reader.own_event(row).await? else { return Ok(None) };
    let member = member.clone();
    let change = Change { room_id, sender: user_id, target: user_id, membership: "leave", member };
    let draft = change.draft(engine).await?;
    let left = build::beside(engine, &last.pdu, &draft, reader.rules());
    Ok(Some(left.map_err(SendError::from)?))
}

/// Notes that the user is outside, which their devices are told.
async fn note_left(
    wish: &Wish<'_>,
    left: Option<&Pdu>,
    row: MembershipRow,
) -> Result<(), MembershipError> {
    let Wish { engine, room_id, user_id, .. } = *wish;
    let _place = room::place(engine, room_id).await;
    // What the user became meanwhile, by another request, is not undone.
    let now = local::membership(engine, user_id, room_id).await?;
    if now.is_none_or(|now| now.event_id != row.event_id || now.membership != row.membership) {
        return Ok(());
    }
    let mut rows = Rows::new();
    let mut row = MembershipRow {
        membership: "leave".to_owned(),
        sender: user_id.to_string(),
        forgotten: engine.config.forget_upon_leave,
        stripped_state: None,
        ..row
    };
    if let Some(left) = left {
        row.event_id = left.event_id.to_string();
        rows.write(events::Write::Put(Box::new(outlier(engine, left))));
    }
    let (user_id, room_id) = (user_id.to_string(), room_id.to_string());
    let at = rows.fact(Fact::Membership { user_id, room_id });
    rows.write(memberships::Write::Put { row, at });
    engine.storage.commit(rows).await.map_err(crate::Internal::from)?;
    Ok(())
}
